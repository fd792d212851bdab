"""The cache in front of the model, the prompts, and the changes that invalidate responses."""

import asyncio
import logging
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any, Self

from chatcache import Answer, AsyncCache, AsyncStream, Local, NotStored, TextCodec
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from chat_service import metrics
from chat_service.model import Model, ModelError
from chat_service.settings import Settings

log = logging.getLogger(__name__)

# All personas of this service begin so, in Redis: the processes' memory tracks this prefix.
PERSONA_PREFIX = "chat/persona/"
# A stand-in for the database in which a service keeps its prompts.
PROMPT_PREFIX = "chat/prompt/"


@dataclass(frozen=True)
class Reply:
    """The source of a response, and its pieces, which raise ModelError, or StreamLost if the response became void."""

    source: str
    pieces: AsyncIterator[str]


class Chat:
    def __init__(self, settings: Settings, model: Model) -> None:
        self._settings, self._model = settings, model
        self._prompts: dict[str, str] = {}
        self._cache = AsyncCache(
            settings.redis_url,
            TextCodec("replace"),
            tier=settings.tier,
            stale=settings.stale_ms / 1e3,
            wait=settings.wait_ms / 1e3,
            lease=settings.lease_ms / 1e3,
            timeout=settings.redis_timeout_s,
            max_connections=settings.redis_connections,
            local=Local(
                prefix=PERSONA_PREFIX,
                items=settings.l1_items,
                ttl=settings.l1_ttl_s,
                lease=settings.l1_lease_s,
            ),
            hooks=metrics.HOOKS,
        )
        self._redis: Redis = Redis.from_url(
            settings.redis_url,
            protocol=3,
            decode_responses=True,
            socket_timeout=settings.redis_timeout_s,
            socket_connect_timeout=settings.redis_timeout_s,
            retry=Retry(NoBackoff(), 0),
        )

    async def __aenter__(self) -> Self:
        await self._cache.__aenter__()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._cache.aclose()
        await self._redis.aclose()

    # Responses

    async def respond(self, user: str, persona: str, message: str) -> Answer[str]:
        """Returns the whole response. Raises ModelError."""
        try:
            stream = await self._stream(user, persona, message)
            return Answer(await stream.value(), stream.source)
        except NotStored as refused:  # too large, or Redis is full: the hooks count it
            return Answer(refused.value, "uncached")
        except RedisError as error:
            pieces = self._without_cache(persona, message, error)
            return Answer("".join([piece async for piece in pieces]), "uncached")

    async def stream(self, user: str, persona: str, message: str) -> Reply:
        """Returns the response as it is said, by this process or another one."""
        try:
            stream = await self._stream(user, persona, message)
        except RedisError as error:
            return Reply("uncached", self._without_cache(persona, message, error))

        async def pieces() -> AsyncIterator[str]:
            try:
                async for piece in stream:
                    yield piece
            except NotStored:
                pass

        return Reply(stream.source, pieces())

    async def _stream(self, user: str, persona: str, message: str) -> AsyncStream[str]:
        is_current = True

        async def say() -> AsyncIterator[str]:
            # The prompt is read under the lease: a change before is seen, and one after it voids the lease.
            nonlocal is_current
            prompt, is_current = await self._prompt(persona)
            async for piece in self._ask(prompt, message):
                yield piece

        return await self._cache.stream(
            say, message, persona=PERSONA_PREFIX + persona, user=user, should_store=lambda _: is_current
        )

    def _without_cache(self, persona: str, message: str, error: RedisError) -> AsyncIterator[str]:
        """A command was refused, as by an ACL: the operator must be told, and the user is served all the same."""
        log.warning("Redis refuses: %s", error)
        metrics.HOOKS.degraded("refused")
        return self._ask(self._last_known_prompt(persona), message)

    async def _ask(self, prompt: str, message: str) -> AsyncIterator[str]:
        metrics.MODEL_CALLS.inc()
        is_empty = True
        try:
            async with asyncio.timeout(self._settings.model_timeout_s):
                async for piece in self._model.stream(prompt, message):
                    is_empty = is_empty and not piece
                    yield piece
            if is_empty:  # and nobody should be given that for an hour
                raise ModelError("the response is empty")
        except Exception as error:  # whatever a provider's client may raise
            raise ModelError("the model gave no response") from error

    # Changes. Each raises RedisError if Redis cannot be told: an invalidation must not be reported in vain.

    async def change_prompt(self, persona: str, prompt: str, soft: bool) -> int:
        """Stores the prompt and invalidates the responses of the old one (or makes them stale)."""
        await self._redis.set(PROMPT_PREFIX + persona, prompt)
        return await self._cache.invalidate(PERSONA_PREFIX + persona, soft=soft)

    async def deploy(self) -> int:
        return await self._cache.flush()

    async def forget(self, user: str) -> int:
        return await self._cache.forget(user)

    # Prompts

    async def _prompt(self, persona: str) -> tuple[str, bool]:
        """The prompt, and whether it is the current one: else it is the last that was seen here."""
        if self._cache.is_down:
            return self._last_known_prompt(persona), False
        try:
            prompt = await self._redis.get(PROMPT_PREFIX + persona)
        except RedisError as error:
            metrics.HOOKS.failed("prompt", error)
            return self._last_known_prompt(persona), False
        if prompt is None:
            self._prompts.pop(persona, None)
        else:
            self._prompts[persona] = str(prompt)
        return self._last_known_prompt(persona), True

    def _last_known_prompt(self, persona: str) -> str:
        return self._prompts.get(persona, f"You are {persona}.")

    # For the operator

    async def metrics(self) -> bytes:
        stats: dict[str, int] = {}
        info: dict[str, Any] = {}
        if not self._cache.is_down:
            try:
                stats, info = await self._cache.stats(), await self._redis.info()
            except RedisError as error:
                log.warning("no counters of Redis: %s", error)
        return metrics.exposition(stats, info)
