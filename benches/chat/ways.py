"""The seven ways to respond that are compared, behind the same routes, in the same server: `uvicorn --factory`.

`fetch`, `shared` and `streamed` are examples/chat_service as it stands, with responses for each user or for all users of a
persona; to `streamed` the load sends /chat/stream.
The others are the same service with another cache in it, so that they differ in nothing else.
"""

import fnmatch
import hashlib
import math
import os
import pickle
import random
from typing import Self, cast

from cachetools import TTLCache
from chatcache import Answer
from fastapi import FastAPI
from redis.asyncio import Redis

from chat_service.app import create_app
from chat_service.chat import PERSONA_PREFIX, PROMPT_PREFIX, Chat
from chat_service.model import StandInModel
from chat_service.settings import Settings

TTL_S = int(os.environ["BENCH_TTL_S"])


class Unevenly(StandInModel):
    """A part of the time that a response takes is the question's own, the rest another for each call."""

    words = ("This is ", "the stand-in's ", "response.")

    def __init__(self, question_share: float) -> None:
        super().__init__()
        self._of_question, self._of_call = math.sqrt(question_share), math.sqrt(1 - question_share)

    def deviation(self, prompt: str, message: str) -> float:
        of_question = random.Random(f"{prompt}\n{message}").gauss()
        return self._of_question * of_question + self._of_call * super().deviation(prompt, message)


def stand_in() -> StandInModel:
    return Unevenly(float(os.environ["BENCH_QUESTION_SHARE"]))


class NoCache(Chat):
    """Every question is a call of the model."""

    async def __aenter__(self) -> Self:
        return self  # and without the connection that watches

    async def respond(self, user: str, persona: str, message: str) -> Answer[str]:
        # The prompt is read from Redis in all ways.
        stored = await self._redis.get(PROMPT_PREFIX + persona)
        prompt = self._last_known_prompt(persona) if stored is None else str(stored)
        return Answer("".join([piece async for piece in self._ask(prompt, message)]), "uncached")

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

    async def get(self, key: str) -> Answer[str] | None:
        if (known := self._memory.get(key)) is not None:
            return Answer(known, "local")
        if (pickled := await self._redis.get(key)) is None:
            return None
        text: str = pickle.loads(cast(bytes, pickled))
        self._memory[key] = text
        return Answer(text, "hit")

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
        self._cached = CacheManager(settings)

    def _key(self, user: str, persona: str, message: str) -> str:
        return f"response:{user}:{hashlib.md5(message.encode()).hexdigest()}"

    async def respond(self, user: str, persona: str, message: str) -> Answer[str]:
        key = self._key(user, persona, message)
        if (known := await self._cached.get(key)) is not None:
            return known
        answer = await super().respond(user, persona, message)
        await self._cached.set(key, answer.value, TTL_S)
        return answer

    async def change_prompt(self, persona: str, prompt: str, soft: bool) -> int:
        await super().change_prompt(persona, prompt, soft)
        return await self._cached.clear_pattern(f"response:*:{persona}:*")

    async def deploy(self) -> int:
        return await self._cached.clear_pattern("response:*")


class Mended(Guide):
    """The same with the persona in its keys, so that the pattern matches."""

    def _key(self, user: str, persona: str, message: str) -> str:
        return f"response:{user}:{persona}:{hashlib.md5(message.encode()).hexdigest()}"


class GetSet(NoCache):
    """chatcache with two commands, and no memory in the process."""

    async def respond(self, user: str, persona: str, message: str) -> Answer[str]:
        words = (self._settings.tier, user, PERSONA_PREFIX + persona, message)
        if (text := await self._redis.execute_command("CHATCACHE.GET", *words)) is not None:
            return Answer(text, "hit")
        answer = await super().respond(user, persona, message)
        await self._redis.execute_command("CHATCACHE.SET", *words, answer.value)
        return answer

    async def change_prompt(self, persona: str, prompt: str, soft: bool) -> int:
        await super().change_prompt(persona, prompt, soft)
        return int(await self._redis.execute_command("CHATCACHE.INVALIDATE", PERSONA_PREFIX + persona))

    async def deploy(self) -> int:
        return int(await self._redis.execute_command("CHATCACHE.FLUSH"))


def none() -> FastAPI:
    return create_app(NoCache(Settings(), stand_in()))


def guide() -> FastAPI:
    return create_app(Guide(Settings()))


def mended() -> FastAPI:
    return create_app(Mended(Settings()))


def getset() -> FastAPI:
    return create_app(GetSet(Settings(), stand_in()))


def fetch() -> FastAPI:
    return create_app(Chat(Settings(), stand_in()))


def shared() -> FastAPI:
    return create_app(Chat(Settings(tier="persona"), stand_in()))


def streamed() -> FastAPI:
    return shared()
