"""The service with a model that does what the message says."""

import asyncio
import uuid
from collections.abc import AsyncIterator

from fastapi import FastAPI

from chat_service.answers import Answers
from chat_service.app import create_app
from chat_service.model import ModelError
from chat_service.settings import Settings


class ScriptedModel:
    """Every answer is another one, and names its prompt. `slow` takes a second, `fail` fails."""

    async def stream(self, prompt: str, message: str) -> AsyncIterator[str]:
        yield f"[{prompt}] "
        await asyncio.sleep(1 if "slow" in message else 0.01)
        if "fail" in message:
            raise ModelError("told to fail")
        yield uuid.uuid4().hex


def create_scripted_app() -> FastAPI:
    return create_app(Answers(Settings(), ScriptedModel()))
