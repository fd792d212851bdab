"""The loop that every question goes through: memory, Redis, whoever asks the model already, the model."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass
from typing import Literal, Self

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from chat_service import metrics
from chat_service.local import EVERYTHING_KEY, PERSONA_PREFIX, LocalCache, Moment, Request, Watcher
from chat_service.model import Model, ModelError
from chat_service.settings import Settings

log = logging.getLogger(__name__)

# A stand-in for the database in which a service keeps its prompts.
PROMPT_PREFIX = "chat/prompt/"


@dataclass(frozen=True)
class Answer:
    """Where an answer comes from, and its pieces, which raise ModelError if it breaks off."""

    source: metrics.Source
    pieces: AsyncIterator[str]

    async def text(self) -> str:
        return "".join([piece async for piece in self.pieces])


class Answers:
    def __init__(self, settings: Settings, model: Model) -> None:
        self._settings = settings
        self._model = model
        self._local = LocalCache(settings)
        self._watcher = Watcher(settings, self._local)
        self._tasks: set[asyncio.Task[None]] = set()
        # What the model is asked without a lease.
        self._asking: dict[tuple[Moment, str, Request], Pieces] = {}
        self._prompts: dict[str, str] = {}
        self._redis = Redis.from_url(
            settings.redis_url,
            protocol=3,
            decode_responses=True,
            encoding_errors="replace",
            # FETCH waits on purpose, so its reply may take that much longer.
            socket_timeout=settings.wait_ms / 1000 + settings.redis_timeout_s,
            socket_connect_timeout=settings.redis_timeout_s,
            # A user waits: the model is asked rather than Redis once more.
            retry=Retry(NoBackoff(), 0),
            max_connections=settings.redis_connections,
        )

    async def __aenter__(self) -> Self:
        self._start(self._watcher.run())
        await self._watcher.has_tried.wait()
        return self

    async def __aexit__(self, *_: object) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._redis.aclose()

    # Questions

    async def answer(self, user: str, persona: str, message: str) -> Answer:
        request = Request(user, persona, message)
        answer = await self._find(request)
        metrics.ANSWERS.labels(answer.source).inc()
        return answer

    async def _find(self, request: Request) -> Answer:
        text = self._local.get(request)
        if text is not None:
            return Answer("l1", whole(text))
        if not self._watcher.redis_is_up:
            return self._without_redis(request, "down")
        try:
            return await self._fetch(request)
        except RedisError as error:
            log.warning("FETCH failed: %s", error)
            metrics.CACHE_ERRORS.labels("fetch").inc()
            return self._without_redis(request, "error")

    async def _fetch(self, request: Request) -> Answer:
        asked_at = self._local.now()
        async with AsyncExitStack() as stack:
            # A connection for this request alone: a lease ends with the connection it was given to.
            redis = await stack.enter_async_context(self._redis.client())
            options = ("WAIT", self._settings.wait_ms, "LEASE", self._settings.lease_ms)
            match await redis.execute_command("CHATCACHE.FETCH", *self._words(request), *options):
                case ["hit", text, _, _]:
                    self._local.put(asked_at, request, text)
                    return Answer("l2", whole(text))
                case ["stale", text, None, _]:
                    return Answer("stale", whole(text))
                case ["stale", text, token, _]:
                    # Ours to refresh; the user need not wait for it.
                    self._compute(stack.pop_all(), redis, request, token, asked_at)
                    return Answer("stale", whole(text))
                case ["lease", _, token, _]:
                    return Answer("model", self._compute(stack.pop_all(), redis, request, token, asked_at))
                case _:  # busy: another caller's call takes longer than most, so this one tries another
                    # Anew, as the prompt and what is in memory may have changed while it waited.
                    asked_at = self._local.now()
                    if (known := self._local.get(request)) is not None:
                        return Answer("l1", whole(known))
                    metrics.DEGRADED.labels("busy").inc()
                    prompt, is_current = await self._prompt(redis, request.persona)
                    return Answer("model", self._ask_together(prompt, is_current, request, asked_at))

    def _compute(
        self, connection: AsyncExitStack, redis: Redis, request: Request, token: str, asked_at: Moment
    ) -> AsyncIterator[str]:
        """The pieces of the answer that we hold the lease for.

        It is a task of its own, so that a user who goes away does not end it: others may wait for the answer.
        """
        pieces = Pieces()

        async def compute() -> None:
            async with connection:
                try:
                    # Read after the lease was taken: a change before it is seen, one after it voids the token.
                    with pieces:
                        prompt, is_current = await self._prompt(redis, request.persona)
                        async for piece in self._ask(prompt, request):
                            pieces.add(piece)
                    if is_current:
                        await self._store(redis, request, pieces.text(), token, asked_at)
                except ModelError:
                    pass  # who reads the pieces is told
                finally:
                    # The next one who waits computes it. If it was stored the lease has ended already.
                    await self._release(redis, request, token)

        self._start(compute())
        return pieces.stream()

    async def _store(self, redis: Redis, request: Request, text: str, token: str, asked_at: Moment) -> None:
        options = ("STALE", self._settings.stale_ms, "TOKEN", token)
        try:
            # None if the token is void by now, as when the prompt has changed: then nothing is stored.
            if await redis.execute_command("CHATCACHE.SET", *self._words(request), text, *options):
                self._local.put(asked_at, request, text)
        except RedisError as error:
            log.warning("SET failed: %s", error)
            metrics.CACHE_ERRORS.labels("set").inc()

    async def _release(self, redis: Redis, request: Request, token: str) -> None:
        with suppress(RedisError):
            await redis.execute_command("CHATCACHE.RELEASE", *self._words(request), "TOKEN", token)

    def _without_redis(self, request: Request, reason: Literal["down", "error"]) -> Answer:
        metrics.DEGRADED.labels(reason).inc()
        prompt = self._last_known_prompt(request.persona)
        return Answer("model", self._ask_together(prompt, False, request, self._local.now()))

    def _ask_together(
        self, prompt: str, is_current: bool, request: Request, asked_at: Moment
    ) -> AsyncIterator[str]:
        """The model's answer where there is no lease: whoever asks this process the same meanwhile gets it too."""
        call = (asked_at, prompt, self._local.shared(request))
        if (known := self._asking.get(call)) is not None:
            return known.stream()
        pieces = self._asking[call] = Pieces()

        async def ask() -> None:
            try:
                with pieces:
                    async for piece in self._ask(prompt, request):
                        pieces.add(piece)
                if is_current:
                    self._local.put(asked_at, request, pieces.text())
            except ModelError:
                pass  # who reads the pieces is told
            finally:
                del self._asking[call]

        self._start(ask())
        return pieces.stream()

    async def _ask(self, prompt: str, request: Request) -> AsyncIterator[str]:
        metrics.MODEL_CALLS.inc()
        is_empty = True
        try:
            with metrics.MODEL_SECONDS.time():
                async with asyncio.timeout(self._settings.model_timeout_s):
                    async for piece in self._model.stream(prompt, request.message):
                        is_empty = is_empty and not piece
                        yield piece
            if is_empty:  # which nobody should be given for an hour
                raise ModelError("the answer is empty")
        except Exception as error:  # whatever a provider's client may raise
            metrics.MODEL_ERRORS.inc()
            raise ModelError("the model gave no answer") from error

    def _words(self, request: Request) -> tuple[str, str, str, str]:
        return self._settings.tier, request.user, PERSONA_PREFIX + request.persona, request.message

    # Changes. Each raises RedisError if Redis cannot be told: what was not dropped must not be reported as dropped.

    async def change_prompt(self, persona: str, prompt: str, soft: bool) -> int:
        """Stores the prompt and drops the answers that the old one gave (or makes them stale)."""
        drop = "CHATCACHE.SOFTINVALIDATE" if soft else "CHATCACHE.INVALIDATE"
        async with self._redis.pipeline(transaction=True) as both:
            both.set(PROMPT_PREFIX + persona, prompt)
            both.execute_command(drop, PERSONA_PREFIX + persona)
            _, answers = await both.execute()
        await self._all_processes_know()
        return int(answers)

    async def deploy(self) -> int:
        """Drops all answers."""
        return await self._drop_everywhere("CHATCACHE.FLUSH")

    async def forget(self, user: str) -> int:
        """Drops all that a user was answered."""
        return await self._drop_everywhere("CHATCACHE.FORGET", user)

    async def _drop_everywhere(self, *drop: str) -> int:
        # FLUSH tells those who track personas nothing, FORGET only of the personas in which it finds answers, and a
        # memory may hold what Redis has evicted. No transaction: when Redis is out of memory it refuses any.
        async with self._redis.pipeline(transaction=False) as both:
            both.execute_command(*drop)
            both.execute_command("CHATCACHE.INVALIDATE", EVERYTHING_KEY)
            answers, _ = await both.execute()
        await self._all_processes_know()
        return int(answers)

    async def _all_processes_know(self) -> None:
        """Waits until no process's memory can give what was dropped: see `local`."""
        if self._settings.l1_items > 0:
            await asyncio.sleep(self._settings.l1_lease_s)

    # Prompts

    async def _prompt(self, redis: Redis, persona: str) -> tuple[str, bool]:
        """The prompt, and whether it is the current one: else it is the last that was seen here."""
        try:
            prompt = await redis.get(PROMPT_PREFIX + persona)
        except RedisError as error:
            log.warning("the prompt cannot be read: %s", error)
            metrics.CACHE_ERRORS.labels("prompt").inc()
            return self._last_known_prompt(persona), False
        if prompt is None:
            self._prompts.pop(persona, None)
        else:
            self._prompts[persona] = str(prompt)
        return self._last_known_prompt(persona), True

    def _last_known_prompt(self, persona: str) -> str:
        return self._prompts.get(persona, f"You are {persona}.")

    # For the operator

    async def stats(self) -> dict[str, int]:
        """CHATCACHE.STATS; empty while Redis is down."""
        return await self._told("CHATCACHE.STATS")

    async def info(self) -> dict[str, int]:
        return await self._told("INFO")

    async def _told(self, command: str) -> dict[str, int]:
        if self._watcher.redis_is_up:
            with suppress(RedisError):
                return dict(await self._redis.execute_command(command))
        return {}

    def _start(self, work: "asyncio._CoroutineLike[None]") -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


class Pieces:
    """An answer's pieces on their way from the task that computes it to those who read it: any number, or nobody."""

    def __init__(self) -> None:
        self._all: list[str] = []
        self._ended = False
        self._error: ModelError | None = None
        self._news = asyncio.Event()

    def add(self, piece: str) -> None:
        self._all.append(piece)
        self._tell()

    def __enter__(self) -> None:
        """All pieces are added in here; what is raised in here, the readers are told."""

    def __exit__(self, _: object, error: BaseException | None, trace: object) -> None:
        if error is not None:
            self._error = error if isinstance(error, ModelError) else ModelError("the service stops")
        self._ended = True
        self._tell()

    def _tell(self) -> None:
        self._news.set()
        self._news = asyncio.Event()

    def text(self) -> str:
        return "".join(self._all)

    async def stream(self) -> AsyncIterator[str]:
        given = 0
        while given < len(self._all) or not self._ended:
            if given == len(self._all):
                await self._news.wait()
            else:
                given += 1
                yield self._all[given - 1]
        if self._error is not None:
            raise self._error


async def whole(text: str) -> AsyncIterator[str]:
    """The pieces of an answer that is there already."""
    yield text
