"""The six ways to answer that are compared, behind the same routes, in the same server: `uvicorn --factory`.

`fetch` and `shared` are examples/chat_service as it stands, with answers for each user or for all who ask a persona.
The others are the same service with another loop in it, so that they differ in nothing but how they cache.
"""

import fnmatch
import hashlib
import math
import os
import pickle
import random
from collections.abc import AsyncIterator
from typing import Self, cast

from cachetools import TTLCache
from fastapi import FastAPI
from redis.asyncio import Redis

from chat_service.answers import PROMPT_PREFIX, Answer, Answers, whole
from chat_service.app import create_app
from chat_service.local import Request
from chat_service.model import StandInModel
from chat_service.settings import Settings

TTL_S = int(os.environ["BENCH_TTL_S"])


class Unevenly(StandInModel):
    """A part of how long an answer takes is the question's own, the rest another for each call."""

    def __init__(self, question_share: float) -> None:
        super().__init__()
        self._of_question, self._of_call = math.sqrt(question_share), math.sqrt(1 - question_share)

    def deviation(self, prompt: str, message: str) -> float:
        of_question = random.Random(f"{prompt}\n{message}").gauss()
        return self._of_question * of_question + self._of_call * super().deviation(prompt, message)


def stand_in() -> StandInModel:
    return Unevenly(float(os.environ["BENCH_QUESTION_SHARE"]))


class NoCache(Answers):
    """Every question is a call of the model."""

    async def __aenter__(self) -> Self:
        return self  # and without the connection that watches

    async def _find(self, request: Request) -> Answer:
        prompt, _ = await self._prompt(self._redis, request.persona)
        return Answer("model", self._ask(prompt, request))

    async def change_prompt(self, persona: str, prompt: str, soft: bool) -> int:
        await self._redis.set(PROMPT_PREFIX + persona, prompt)
        return 0

    async def deploy(self) -> int:
        return 0


class CacheManager:
    """The client-side cache that many chat services have: memory, then Redis; pickles; SCAN to clear."""

    def __init__(self, settings: Settings) -> None:
        self._memory: TTLCache[str, str] = TTLCache(settings.l1_items, settings.l1_ttl_s)
        self._redis = Redis.from_url(settings.redis_url, max_connections=settings.redis_connections)

    async def get(self, key: str) -> Answer | None:
        if (known := self._memory.get(key)) is not None:
            return Answer("l1", whole(known))
        if (pickled := await self._redis.get(key)) is None:
            return None
        text: str = pickle.loads(cast(bytes, pickled))
        self._memory[key] = text
        return Answer("l2", whole(text))

    async def set(self, key: str, text: str, ttl: int) -> None:
        self._memory[key] = text
        await self._redis.setex(key, ttl, pickle.dumps(text))

    async def clear_pattern(self, pattern: str) -> int:
        # Kinder than the original may be: the memory of the process that is told is cleared too.
        for key in fnmatch.filter(list(self._memory), pattern):
            self._memory.pop(key, None)
        cleared = 0
        async for key in self._redis.scan_iter(match=pattern):
            cleared += await self._redis.delete(key)
        return cleared


class Guide(NoCache):
    """The guide's scheme as it is: its keys hold no persona, so a prompt's change clears a pattern in vain."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings, stand_in())
        self._cache = CacheManager(settings)

    def _key(self, request: Request) -> str:
        return f"response:{request.user}:{hashlib.md5(request.message.encode()).hexdigest()}"

    async def _find(self, request: Request) -> Answer:
        key = self._key(request)
        return await self._cache.get(key) or Answer("model", self._compute_and_set(key, request))

    async def _compute_and_set(self, key: str, request: Request) -> AsyncIterator[str]:
        answer = await super()._find(request)
        text = await answer.text()
        await self._cache.set(key, text, TTL_S)
        yield text

    async def change_prompt(self, persona: str, prompt: str, soft: bool) -> int:
        await super().change_prompt(persona, prompt, soft)
        return await self._cache.clear_pattern(f"response:*:{persona}:*")

    async def deploy(self) -> int:
        return await self._cache.clear_pattern("response:*")


class Mended(Guide):
    """The same with the persona in its keys, so that the pattern matches."""

    def _key(self, request: Request) -> str:
        digest = hashlib.md5(request.message.encode()).hexdigest()
        return f"response:{request.user}:{request.persona}:{digest}"


class GetSet(Answers):
    """chatcache with two commands, and no memory in the process."""

    async def __aenter__(self) -> Self:
        return self

    async def _find(self, request: Request) -> Answer:
        text = await self._redis.execute_command("CHATCACHE.GET", *self._words(request))
        return (
            Answer("l2", whole(text)) if text is not None else Answer("model", self._compute_and_set(request))
        )

    async def _compute_and_set(self, request: Request) -> AsyncIterator[str]:
        prompt, _ = await self._prompt(self._redis, request.persona)
        text = "".join([piece async for piece in self._ask(prompt, request)])
        await self._redis.execute_command("CHATCACHE.SET", *self._words(request), text)
        yield text


def none() -> FastAPI:
    return create_app(NoCache(Settings(), stand_in()))


def guide() -> FastAPI:
    return create_app(Guide(Settings()))


def mended() -> FastAPI:
    return create_app(Mended(Settings()))


def getset() -> FastAPI:
    return create_app(GetSet(Settings(l1_items=0), stand_in()))


def fetch() -> FastAPI:
    return create_app(Answers(Settings(), stand_in()))


def shared() -> FastAPI:
    return create_app(Answers(Settings(tier="persona"), stand_in()))
