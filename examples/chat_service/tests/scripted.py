"""The service with a model that does what the message says."""

import asyncio
import uuid
from collections.abc import AsyncIterator

from fastapi import FastAPI

from chat_service.app import create_app
from chat_service.chat import Chat
from chat_service.model import ModelError
from chat_service.settings import Settings


class ScriptedModel:
    """Every response is another one, and names its prompt.

    `slow` takes a second, `fail` fails, `silent` says nothing, `long` is long.
    """

    async def stream(self, prompt: str, message: str) -> AsyncIterator[str]:
        if "silent" in message:
            yield ""
            return
        yield f"[{prompt}] "
        await asyncio.sleep(1 if "slow" in message else 0.01)
        if "fail" in message:
            raise ModelError("told to fail")
        yield uuid.uuid4().hex * (1000 if "long" in message else 1)


def create_scripted_app() -> FastAPI:
    return create_app(Chat(Settings(), ScriptedModel()))
