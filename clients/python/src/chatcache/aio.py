"""The cache for asyncio. `sync` has the same for threads; both drive the flights of `flight`."""

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import replace
from math import inf
from types import TracebackType
from typing import Any, Generic, ParamSpec, cast

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.asyncio.sentinel import Sentinel

from chatcache.codecs import Value
from chatcache.core import ATTEMPTS, Answer, Core, Template, wraps
from chatcache.errors import StreamLost, is_outage
from chatcache.flight import COMPUTING, Command, Flight, Lost, Question
from chatcache.hooks import Reason, Source
from chatcache.request import Request, Text, Tier

P = ParamSpec("P")

Compute = Callable[[], AsyncGenerator[bytes, None]]


class AsyncCache(Core[Value]):
    __doc__ = (Core.__doc__ or "").replace("The base of `Cache` and `AsyncCache`", "A cache for asyncio", 1)

    def _begin(self) -> None:
        super()._begin()
        self._tasks: set[asyncio.Task[None]] = set()

    def _open(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None
        self._redis: Redis
        self._waiting: Redis
        self._redis, self._waiting, self._asked = self._clients(Redis, Sentinel, Retry)

    def _bind(self) -> None:
        """Binds the cache, whose connections belong to one event loop, to that of its first call."""
        loop = asyncio.get_running_loop()
        self._loop = self._loop or loop
        if self._loop is not loop:
            raise RuntimeError("this AsyncCache belongs to another event loop: make one in each loop")

    async def __aenter__(self) -> "AsyncCache[Value]":
        if self.local is not None:
            await asyncio.to_thread(self.local.wait_until_tried)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Ends the flights under way, whose leases go back, and closes all connections."""
        self.is_closed = True
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self.local is not None:
            await asyncio.to_thread(self.local.close)
        for client in (self._redis, self._waiting, *self._asked):
            await client.aclose(close_connection_pool=True)

    # Reading and writing

    async def get(
        self,
        message: Text,
        *,
        persona: Text,
        user: Text = "",
        tier: Tier | None = None,
        id: Text | None = None,
    ) -> Answer[Value] | None:
        """Returns the fresh response, or None: there is none, or the cache is out of reach."""
        [answer] = await self._get([self._request(message, persona, user, tier, id)])
        return answer

    async def get_many(
        self, messages: Sequence[Text], *, persona: Text, user: Text = "", tier: Tier | None = None
    ) -> list[Answer[Value] | None]:
        """Returns the fresh response or None for each message, read in one pipeline."""
        return await self._get([self._request(message, persona, user, tier, None) for message in messages])

    async def _get(self, requests: list[Request]) -> list[Answer[Value] | None]:
        self._bind()
        began_at = time.monotonic()
        found = self._local_answers(requests)
        missing = [request for request in requests if request not in found]
        if missing and not self.is_down:
            try:
                async with self._redis.pipeline(transaction=False) as pipeline:
                    for request in missing:
                        pipeline.execute_command("CHATCACHE.GET", *request.words, *request.options)
                    replies = await pipeline.execute()
            except Exception as error:
                if not is_outage(error):
                    raise
                self.failed("get", error)
            else:
                self._add_hits(found, missing, replies)
        return self._answered(requests, found, began_at)

    async def set(
        self,
        message: Text,
        value: Value,
        *,
        persona: Text,
        user: Text = "",
        tier: Tier | None = None,
        id: Text | None = None,
        ttl: float | None = None,
        stale: float | None = None,
    ) -> bool:
        """Stores a response. Returns false if the cache is out of reach."""
        self._bind()
        request = self._request(message, persona, user, tier, id)
        try:
            await self._redis.execute_command(*self._set(request, value, ttl, stale))
        except Exception as error:
            if not is_outage(error):
                raise
            self.failed("set", error)
            return False
        self.succeeded()
        return True

    # One computes, the others share

    async def get_or_compute(
        self,
        compute: Callable[[], Awaitable[Value]],
        message: Text,
        *,
        persona: Text,
        user: Text = "",
        tier: Tier | None = None,
        id: Text | None = None,
        ttl: float | None = None,
        stale: float | None = None,
        refresh: bool = False,
        store: bool = True,
        should_store: Callable[[Value], bool] | None = None,
    ) -> Answer[Value]:
        """Returns the response: from memory, from Redis, from another caller that computes it, or from `compute`.

        `compute` runs in a task of its own, since others may wait for it: it goes on if this caller is cancelled. A stale
        response is returned at once, and refreshed by one caller's `compute` afterwards. With `refresh` a present response
        counts as missing. Without `store` nothing is stored, and `should_store` decides it by the value.

        Raises what `compute` raises (nothing is stored then), `NotStored` with the value if Redis refuses the response, and
        redis-py's ResponseError if it refuses another command. If Redis is out of reach, `compute` runs and no error is
        raised.
        """
        request = self._request(message, persona, user, tier, id)
        if not store:
            return await self._compute_only(compute, request, refresh)
        question = self._question(request, ttl, stale, refresh, should_store)

        async def once() -> AsyncGenerator[bytes, None]:
            yield self.codec.encode(await compute())

        stream = await self._join(question, once, streams=False)
        return Answer(await stream.value(), stream.source)

    async def _compute_only(
        self, compute: Callable[[], Awaitable[Value]], request: Request, refresh: bool
    ) -> Answer[Value]:
        if not refresh and (answer := (await self._get([request]))[0]) is not None:
            return answer
        began_at = time.monotonic()
        answer = Answer(await compute(), "uncached")
        self.hooks.answered(request, answer.source, time.monotonic() - began_at)
        return answer

    async def stream(
        self,
        compute: Callable[[], AsyncIterator[Value]],
        message: Text,
        *,
        persona: Text,
        user: Text = "",
        tier: Tier | None = None,
        id: Text | None = None,
        ttl: float | None = None,
        stale: float | None = None,
        refresh: bool = False,
        should_store: Callable[[Value], bool] | None = None,
    ) -> "AsyncStream[Value]":
        """Returns the response piece by piece, as soon as its source is known.

        It is `get_or_compute` for a `compute` that yields pieces. Callers of all processes read along while one computes.
        The iteration raises `StreamLost` if the response becomes void after the caller was given a part of it.
        """
        if not self.has_pieces:
            raise TypeError(f"{type(self.codec).__name__} has no pieces: stream needs text or bytes")
        request = self._request(message, persona, user, tier, id)
        question = self._question(request, ttl, stale, refresh, should_store)

        async def pieces() -> AsyncGenerator[bytes, None]:
            async for piece in compute():
                yield self.codec.encode(piece)

        return await self._join(question, pieces, streams=True)

    async def _join(self, question: Question[Value], compute: Compute, streams: bool) -> "AsyncStream[Value]":
        self._bind()
        stream = AsyncStream(self, question, compute, streams)
        await stream.join()
        return stream

    def cached(
        self,
        *,
        persona: str,
        user: str = "",
        message: str | None = None,
        tier: Tier | None = None,
        ttl: float | None = None,
        stale: float | None = None,
        should_store: Callable[[Value], bool] | None = None,
    ) -> Callable[[Callable[P, Awaitable[Value]]], Callable[P, Awaitable[Value]]]:
        """Decorates a coroutine function: its value is cached by persona, user and message.

        These are templates that are filled from the arguments: `persona="helper/{model}"`. Without a message template, the
        message is the JSON of the function's name and all arguments. Two calls with equal texts share a response, so a
        message of several arguments needs a separator that cannot stand in them.
        """

        def decorate(function: Callable[P, Awaitable[Value]]) -> Callable[P, Awaitable[Value]]:
            template = Template(function, persona, user, message)

            @wraps(function)
            async def call(*args: P.args, **kwargs: P.kwargs) -> Value:
                for_persona, for_user, text = template.fill(args, kwargs)
                answer = await self.get_or_compute(
                    lambda: function(*args, **kwargs),
                    text,
                    persona=for_persona,
                    user=for_user,
                    tier=tier,
                    ttl=ttl,
                    stale=stale,
                    should_store=should_store,
                )
                return answer.value

            return cast("Callable[P, Awaitable[Value]]", call)

        return decorate

    # Changes. Each raises redis-py's error if Redis cannot be told: an invalidation must not be reported in vain.

    async def invalidate(self, *personas: Text, soft: bool = False) -> int:
        """Invalidates all responses of the personas, or makes them stale. Returns their number."""
        return await self._change(self._invalidation(soft, personas))

    async def forget(self, *users: Text) -> int:
        """Invalidates all responses of the users. Returns their number."""
        return await self._change(self._everywhere("CHATCACHE.FORGET", *users))

    async def flush(self, *tiers: Tier) -> int:
        """Invalidates all responses of the tiers, or of all. Returns their number."""
        return await self._change(self._everywhere("CHATCACHE.FLUSH", *tiers))

    async def _change(self, commands: list[tuple[Any, ...]]) -> int:
        self._bind()
        # No transaction: when Redis is out of memory it refuses any.
        async with self._redis.pipeline(transaction=False) as pipeline:
            for command in commands:
                pipeline.execute_command(*command)
            replies = await pipeline.execute()
        await asyncio.sleep(self._changed())
        return int(replies[0])

    # For the operator

    async def stats(self, persona: Text | None = None) -> dict[str, int]:
        """Returns the counters of the server, or of a persona."""
        self._bind()
        words = () if persona is None else (persona,)
        return self._map(await self._redis.execute_command("CHATCACHE.STATS", *words))

    async def inspect(
        self,
        message: Text,
        *,
        persona: Text,
        user: Text = "",
        tier: Tier | None = None,
        id: Text | None = None,
    ) -> dict[str, bytes | int] | None:
        """Returns the properties of an entry, or None. Names are bytes."""
        self._bind()
        request = self._request(message, persona, user, tier, id)
        reply = await self._redis.execute_command("CHATCACHE.INSPECT", *request.words, *request.options)
        return None if reply is None else self._map(reply)

    # Flights

    def make_news(self) -> "News":
        return News()

    def _start(self, flight: Flight[Value], compute: Compute) -> None:
        task = asyncio.create_task(self._drive(flight, compute))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _drive(self, flight: Flight[Value], compute: Compute) -> None:
        COMPUTING.set((*COMPUTING.get(), flight))  # for this task, and those that `compute` begins
        lane = Lane(self._redis, self._waiting)
        effects = flight.fly()
        pieces: AsyncGenerator[bytes, None] | None = None
        try:
            effect = next(effects)
            while True:
                try:
                    result: Any
                    if isinstance(effect, Command):
                        result = await lane.send(effect)
                    else:
                        pieces = pieces or compute()
                        result = await anext(pieces, None)
                except BaseException as error:  # noqa: BLE001  the flight decides about it
                    effect = effects.throw(error)
                else:
                    effect = effects.send(result)
        except StopIteration:
            pass
        finally:
            try:
                if pieces is not None:
                    await pieces.aclose()
            finally:
                await lane.close(ends_lease=flight.holds_lease)


class News:
    def __init__(self) -> None:
        self._next = asyncio.Event()

    def notify(self) -> None:
        self._next.set()
        self._next = asyncio.Event()

    async def wait(self, seconds: float | None) -> None:
        if seconds is None:
            await self._next.wait()
            return
        # Not wait_for: that of Python 3.11 loses a cancellation that comes in the moment of the news.
        waiting = asyncio.ensure_future(self._next.wait())
        try:
            await asyncio.wait((waiting,), timeout=seconds)
        finally:
            waiting.cancel()


class Lane:
    """The connection of one flight. One that waits needs a longer time-out, so it comes from another pool."""

    def __init__(self, quick: Redis, waiting: Redis) -> None:
        self._quick, self._waiting = quick, waiting
        self._client: Redis | None = None
        self._waits = False

    async def send(self, command: Command) -> Any:
        if self._client is None or command.waits and not self._waits:
            await self.close(ends_lease=False)
            self._waits = command.waits
            self._client = (self._waiting if command.waits else self._quick).client()
            await self._client.initialize()
        return await self._client.execute_command(*command.words)

    async def close(self, ends_lease: bool) -> None:
        """Gives the connection back, closed if a lease has to end with it."""
        if self._client is not None:
            client, self._client = self._client, None
            if ends_lease and client.connection is not None:
                await client.connection.disconnect(nowait=True)
            await client.aclose()


class AsyncStream(Generic[Value]):
    """A response piece by piece: `async for piece in stream`, once. `source` tells where it comes from."""

    def __init__(
        self, cache: AsyncCache[Value], question: Question[Value], compute: Compute, streams: bool
    ) -> None:
        self.source: Source = "hit"
        self.given: list[bytes] = []
        self._cache, self._question, self._compute, self._streams = cache, question, compute, streams
        self._began_at = time.monotonic()
        self._flight: Flight[Value] | None = None
        self._asked_at = -inf  # or, of a caller who leads no flight, when it began
        self._without: Reason | None = None  # why it will have no lease
        self._attempts = 0

    async def join(self) -> None:
        """Joins a flight, and returns once the response's source is known."""
        cache, question = self._cache, self._question
        while True:
            self._flight = None
            if not question.refresh and (known := cache.remembered(question.request)) is not None:
                self.source, self.given = "local", [known]
                return
            if self._attempts >= ATTEMPTS and self._without is None:
                self._without = "busy"
            flight, self._asked_at = cache.join(question, self._streams, self._began_at, self._without)
            leads = self._asked_at == -inf
            self._attempts += 1
            if leads:
                cache._start(flight, self._compute)
            try:
                await self._until(flight, lambda flight: flight.source is not None)
            except Lost:
                if flight.is_down:
                    self._without = "down"
                continue
            self._flight = flight
            self.source = cache._source(flight, leads, self._attempts > 1)
            return

    async def _until(self, flight: Flight[Value], is_enough: Callable[[Flight[Value]], bool]) -> None:
        """Waits until the flight is done or `is_enough`. Raises the errors of `Flight.next_piece`.

        A caller is late if it has waited for `wait` and this process still computes the response. It leaves the flight as
        one that is lost. (A flight that waits for another process ends its wait itself.)
        """
        waits_on = self._asked_at == -inf or self._without or self.given
        ends_at = inf if waits_on else self._began_at + self._cache.wait
        while True:
            piece = flight.next_piece(len(self.given), self._asked_at)
            if flight.is_done or is_enough(flight):
                return
            left = None
            if piece is None and flight.source == "computed" and ends_at < inf:
                left = ends_at - time.monotonic()
            if left is not None and left <= 0:
                self._without = "busy"
                raise Lost
            await flight.news.wait(left)

    async def value(self) -> Value:
        """Returns the whole response, without its pieces. It begins again by itself if the response becomes void.

        A stored response that the codec cannot read is computed anew.
        """
        while True:
            response = await self._whole()
            try:
                value = self._cache.codec.decode(response)
                break
            except Exception as error:  # noqa: BLE001  the codec's
                await self._ask_anew(error)
        self._cache.hooks.answered(self._question.request, self.source, time.monotonic() - self._began_at)
        return value

    async def _ask_anew(self, error: Exception) -> None:
        """Joins a flight that computes, as the codec cannot read the stored response. Raises the error of any other one."""
        if self._question.refresh or self.source in ("computed", "uncached") or len(self.given) > 1:
            raise error
        self._cache.unreadable(error)
        self._question = replace(self._question, refresh=True)
        self.given = []
        await self.join()

    async def _whole(self) -> bytes:
        while (flight := self._flight) is not None:
            try:
                await self._until(flight, lambda _: False)
                flight.next_piece(len(flight.pieces), self._asked_at)
                return flight.whole()
            except Lost:
                await self.join()
        [known] = self.given
        return known

    async def responses(self) -> AsyncGenerator[bytes, None]:
        """The pieces as bytes."""
        while (flight := self._flight) is not None:
            try:
                await self._until(flight, self._has_more)
                piece = flight.next_piece(len(self.given), self._asked_at)
            except Lost:
                if self.given:
                    raise StreamLost("the response became void") from None
                await self.join()
                continue
            if piece is None:
                return
            self.given.append(piece)
            yield piece
        [known] = self.given
        yield known

    def _has_more(self, flight: Flight[Value]) -> bool:
        return flight.next_piece(len(self.given), self._asked_at) is not None

    async def __aiter__(self) -> AsyncGenerator[Value, None]:
        decode = self._cache.codec.pieces()
        assert decode is not None
        request, hooks = self._question.request, self._cache.hooks
        is_first = True
        async for response in self.responses():
            try:
                is_whole = self.source in ("local", "hit", "stale")
                piece = self._cache.codec.decode(response) if is_whole else decode(response, False)
            except Exception as error:  # noqa: BLE001  the codec's
                await self._ask_anew(error)
                async for piece in self:
                    yield piece
                return
            if is_first:
                hooks.first_piece(request, self.source, time.monotonic() - self._began_at)
                is_first = False
            if piece:
                yield piece
        if piece := decode(b"", True):
            yield piece
        hooks.answered(request, self.source, time.monotonic() - self._began_at)
