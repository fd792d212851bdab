"""The cache for threads. `aio` has the same for asyncio; both drive the flights of `flight`."""

import contextvars
import threading
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from dataclasses import replace
from math import inf
from types import TracebackType
from typing import Any, Generic, ParamSpec, cast

from redis import Redis
from redis.retry import Retry
from redis.sentinel import Sentinel

from chatcache.codecs import Value
from chatcache.core import ATTEMPTS, Answer, Core, Template, wraps
from chatcache.errors import StreamLost, is_outage
from chatcache.flight import COMPUTING, Command, Flight, Lost, NextPiece, Question
from chatcache.hooks import Reason, Source
from chatcache.request import Request, Text, Tier

P = ParamSpec("P")

Compute = Callable[[], Generator[bytes, None, None]]


class Cache(Core[Value]):
    __doc__ = (Core.__doc__ or "").replace("The base of `Cache` and `AsyncCache`", "A cache for threads", 1)

    def _begin(self) -> None:
        super()._begin()
        self._threads: set[threading.Thread] = set()

    def _open(self) -> None:
        self._redis: Redis
        self._waiting: Redis
        self._redis, self._waiting, self._asked = self._clients(Redis, Sentinel, Retry)

    def __enter__(self) -> "Cache[Value]":
        if self.local is not None:
            self.local.wait_until_tried()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Waits for the flights under way, as long as a lease lasts, and closes all connections."""
        self.is_closed = True
        ends_at = time.monotonic() + self.lease
        for thread in list(self._threads):
            thread.join(max(0.0, ends_at - time.monotonic()))
        if self.local is not None:
            self.local.close()
        for client in (self._redis, self._waiting, *self._asked):
            client.close()
            client.connection_pool.disconnect()

    # Reading and writing

    def get(
        self,
        message: Text,
        *,
        persona: Text,
        user: Text = "",
        tier: Tier | None = None,
        id: Text | None = None,
    ) -> Answer[Value] | None:
        """Returns the fresh response, or None: there is none, or the cache is out of reach."""
        [answer] = self._get([self._request(message, persona, user, tier, id)])
        return answer

    def get_many(
        self, messages: Sequence[Text], *, persona: Text, user: Text = "", tier: Tier | None = None
    ) -> list[Answer[Value] | None]:
        """Returns the fresh response or None for each message, read in one pipeline."""
        return self._get([self._request(message, persona, user, tier, None) for message in messages])

    def _get(self, requests: list[Request]) -> list[Answer[Value] | None]:
        began_at = time.monotonic()
        found = self._local_answers(requests)
        missing = [request for request in requests if request not in found]
        if missing and not self.is_down:
            try:
                with self._redis.pipeline(transaction=False) as pipeline:
                    for request in missing:
                        pipeline.execute_command("CHATCACHE.GET", *request.words, *request.options)
                    replies = pipeline.execute()
            except Exception as error:
                if not is_outage(error):
                    raise
                self.failed("get", error)
            else:
                self._add_hits(found, missing, replies)
        return self._answered(requests, found, began_at)

    def set(
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
        request = self._request(message, persona, user, tier, id)
        try:
            self._redis.execute_command(*self._set(request, value, ttl, stale))
        except Exception as error:
            if not is_outage(error):
                raise
            self.failed("set", error)
            return False
        self.succeeded()
        return True

    # One computes, the others share

    def get_or_compute(
        self,
        compute: Callable[[], Value],
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

        `compute` runs in this thread. A stale response is returned at once, and one caller's `compute` refreshes it in a
        thread of its own. With `refresh` a present response
        counts as missing. Without `store` nothing is stored, and `should_store` decides it by the value.

        Raises what `compute` raises (nothing is stored then), `NotStored` with the value if Redis refuses the response, and
        redis-py's ResponseError if it refuses another command. If Redis is out of reach, `compute` runs and no error is
        raised.
        """
        request = self._request(message, persona, user, tier, id)
        if not store:
            return self._compute_only(compute, request, refresh)
        question = self._question(request, ttl, stale, refresh, should_store)

        def once() -> Generator[bytes, None, None]:
            yield self.codec.encode(compute())

        stream = self._join(question, once, streams=False)
        return Answer(stream.value(), stream.source)

    def _compute_only(self, compute: Callable[[], Value], request: Request, refresh: bool) -> Answer[Value]:
        if not refresh and (answer := (self._get([request]))[0]) is not None:
            return answer
        began_at = time.monotonic()
        answer = Answer(compute(), "uncached")
        self.hooks.answered(request, answer.source, time.monotonic() - began_at)
        return answer

    def stream(
        self,
        compute: Callable[[], Iterable[Value]],
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
    ) -> "Stream[Value]":
        """Returns the response piece by piece, as soon as its source is known.

        It is `get_or_compute` for a `compute` that yields pieces, in a thread of its own. Callers of all processes read along while one computes.
        The iteration raises `StreamLost` if the response becomes void after the caller was given a part of it.
        """
        if not self.has_pieces:
            raise TypeError(f"{type(self.codec).__name__} has no pieces: stream needs text or bytes")
        request = self._request(message, persona, user, tier, id)
        question = self._question(request, ttl, stale, refresh, should_store)

        def pieces() -> Generator[bytes, None, None]:
            for piece in compute():
                yield self.codec.encode(piece)

        return self._join(question, pieces, streams=True)

    def _join(self, question: Question[Value], compute: Compute, streams: bool) -> "Stream[Value]":
        stream = Stream(self, question, compute, streams)
        stream.join()
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
    ) -> Callable[[Callable[P, Value]], Callable[P, Value]]:
        """Decorates a function: its value is cached by persona, user and message.

        These are templates that are filled from the arguments: `persona="helper/{model}"`. Without a message template, the
        message is the JSON of the function's name and all arguments. Two calls with equal texts share a response, so a
        message of several arguments needs a separator that cannot stand in them.
        """

        def decorate(function: Callable[P, Value]) -> Callable[P, Value]:
            template = Template(function, persona, user, message)

            @wraps(function)
            def call(*args: P.args, **kwargs: P.kwargs) -> Value:
                for_persona, for_user, text = template.fill(args, kwargs)
                answer = self.get_or_compute(
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

            return cast("Callable[P, Value]", call)

        return decorate

    # Changes. Each raises redis-py's error if Redis cannot be told: an invalidation must not be reported in vain.

    def invalidate(self, *personas: Text, soft: bool = False) -> int:
        """Invalidates all responses of the personas, or makes them stale. Returns their number."""
        return self._change(self._invalidation(soft, personas))

    def forget(self, *users: Text) -> int:
        """Invalidates all responses of the users. Returns their number."""
        return self._change(self._everywhere("CHATCACHE.FORGET", *users))

    def flush(self, *tiers: Tier) -> int:
        """Invalidates all responses of the tiers, or of all. Returns their number."""
        return self._change(self._everywhere("CHATCACHE.FLUSH", *tiers))

    def _change(self, commands: list[tuple[Any, ...]]) -> int:
        # No transaction: when Redis is out of memory it refuses any.
        with self._redis.pipeline(transaction=False) as pipeline:
            for command in commands:
                pipeline.execute_command(*command)
            replies = pipeline.execute()
        time.sleep(self._changed())
        return int(replies[0])

    # For the operator

    def stats(self, persona: Text | None = None) -> dict[str, int]:
        """Returns the counters of the server, or of a persona."""
        words = () if persona is None else (persona,)
        return self._map(self._redis.execute_command("CHATCACHE.STATS", *words))

    def inspect(
        self,
        message: Text,
        *,
        persona: Text,
        user: Text = "",
        tier: Tier | None = None,
        id: Text | None = None,
    ) -> dict[str, bytes | int] | None:
        """Returns the properties of an entry, or None. Names are bytes."""
        request = self._request(message, persona, user, tier, id)
        reply = self._redis.execute_command("CHATCACHE.INSPECT", *request.words, *request.options)
        return None if reply is None else self._map(reply)

    # Flights

    def make_news(self) -> "News":
        return News()

    def _start(self, flight: Flight[Value], compute: Compute, streams: bool) -> None:
        """Drives the flight in this thread until its callers have all; the rest, and streams, in a thread of their own."""
        drive = Drive(flight, compute, Lane(self._redis, self._waiting))
        if streams or not drive.run(until_done=True):
            context = contextvars.copy_context()
            thread = threading.Thread(
                target=lambda: context.run(self._in_background, drive), name="chatcache-flight", daemon=True
            )
            self._threads.add(thread)
            try:
                thread.start()
            except RuntimeError:  # there are too many threads
                self._threads.discard(thread)
                drive.run(until_done=False)

    def _in_background(self, drive: "Drive[Value]") -> None:
        try:
            drive.run(until_done=False)
        except BaseException as error:
            if isinstance(error, Exception):
                raise
            # It is the model's exit, which its caller is told.
        finally:
            self._threads.discard(threading.current_thread())


class News:
    """Callers look for a change and wait for the next one under `lock`, so that none is missed."""

    def __init__(self) -> None:
        self.lock = threading.Condition()

    def notify(self) -> None:
        with self.lock:
            self.lock.notify_all()


class Drive(Generic[Value]):
    """Carries out the effects of a flight."""

    def __init__(self, flight: Flight[Value], compute: Compute, lane: "Lane") -> None:
        self._flight, self._compute, self._lane = flight, compute, lane
        self._effects = flight.fly()
        self._effect: Command | NextPiece | None = None
        self._pieces: Generator[bytes, None, None] | None = None

    def run(self, until_done: bool) -> bool:
        """Returns true at the end of the flight, false if its callers have all and there is more to do."""
        try:
            effect = self._effect or next(self._effects)
            while not (until_done and self._flight.is_done):
                try:
                    result = self._carry_out(effect)
                except BaseException as error:  # noqa: BLE001  the flight decides about it
                    effect = self._effects.throw(error)
                else:
                    effect = self._effects.send(result)
            self._effect = effect
            return False
        except StopIteration:
            self._close()
            return True
        except BaseException:
            self._close()
            raise

    def _carry_out(self, effect: Command | NextPiece) -> Any:
        if isinstance(effect, Command):
            return self._lane.send(effect)
        self._pieces = self._pieces or self._compute()
        before = COMPUTING.set((*COMPUTING.get(), self._flight))
        try:
            return next(self._pieces, None)
        finally:
            COMPUTING.reset(before)

    def _close(self) -> None:
        try:
            if self._pieces is not None:
                self._pieces.close()
        finally:
            self._lane.close(ends_lease=self._flight.holds_lease)


class Lane:
    """The connection of one flight. One that waits needs a longer time-out, so it comes from another pool."""

    def __init__(self, quick: Redis, waiting: Redis) -> None:
        self._quick, self._waiting = quick, waiting
        self._client: Redis | None = None
        self._waits = False

    def send(self, command: Command) -> Any:
        if self._client is None or command.waits and not self._waits:
            self.close(ends_lease=False)
            self._waits = command.waits
            self._client = (self._waiting if command.waits else self._quick).client()
        return self._client.execute_command(*command.words)

    def close(self, ends_lease: bool) -> None:
        """Gives the connection back, closed if a lease has to end with it."""
        if self._client is not None:
            client, self._client = self._client, None
            if ends_lease and client.connection is not None:
                client.connection.disconnect()
            client.close()


class Stream(Generic[Value]):
    """A response piece by piece: `for piece in stream`, once. `source` tells where it comes from."""

    def __init__(
        self, cache: Cache[Value], question: Question[Value], compute: Compute, streams: bool
    ) -> None:
        self.source: Source = "hit"
        self.given: list[bytes] = []
        self._cache, self._question, self._compute, self._streams = cache, question, compute, streams
        self._began_at = time.monotonic()
        self._flight: Flight[Value] | None = None
        self._asked_at = -inf  # or, of a caller who leads no flight, when it began
        self._without: Reason | None = None  # why it will have no lease
        self._attempts = 0

    def join(self) -> None:
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
                cache._start(flight, self._compute, self._streams)
            try:
                self._until(flight, lambda flight: flight.source is not None)
            except Lost:
                if flight.is_down:
                    self._without = "down"
                continue
            self._flight = flight
            self.source = cache._source(flight, leads, self._attempts > 1)
            return

    def _until(self, flight: Flight[Value], is_enough: Callable[[Flight[Value]], bool]) -> None:
        """Waits until the flight is done or `is_enough`. Raises the errors of `Flight.next_piece`.

        A caller is late if it has waited for `wait` and this process still computes the response. It leaves the flight as
        one that is lost. (A flight that waits for another process ends its wait itself.)
        """
        waits_on = self._asked_at == -inf or self._without or self.given
        ends_at = inf if waits_on else self._began_at + self._cache.wait
        while True:
            with flight.news.lock:
                piece = flight.next_piece(len(self.given), self._asked_at)
                if flight.is_done or is_enough(flight):
                    return
                left = None
                if piece is None and flight.source == "computed" and ends_at < inf:
                    left = ends_at - time.monotonic()
                if left is not None and left <= 0:
                    self._without = "busy"
                    raise Lost
                flight.news.lock.wait(left)

    def value(self) -> Value:
        """Returns the whole response, without its pieces. It begins again by itself if the response becomes void.

        A stored response that the codec cannot read is computed anew.
        """
        while True:
            response = self._whole()
            try:
                value = self._cache.codec.decode(response)
                break
            except Exception as error:  # noqa: BLE001  the codec's
                self._ask_anew(error)
        self._cache.hooks.answered(self._question.request, self.source, time.monotonic() - self._began_at)
        return value

    def _ask_anew(self, error: Exception) -> None:
        """Joins a flight that computes, as the codec cannot read the stored response. Raises the error of any other one."""
        if self._question.refresh or self.source in ("computed", "uncached") or len(self.given) > 1:
            raise error
        self._cache.unreadable(error)
        self._question = replace(self._question, refresh=True)
        self.given = []
        self.join()

    def _whole(self) -> bytes:
        while (flight := self._flight) is not None:
            try:
                self._until(flight, lambda _: False)
                flight.next_piece(len(flight.pieces), self._asked_at)
                return flight.whole()
            except Lost:
                self.join()
        [known] = self.given
        return known

    def responses(self) -> Iterator[bytes]:
        """The pieces as bytes."""
        while (flight := self._flight) is not None:
            try:
                self._until(flight, self._has_more)
                piece = flight.next_piece(len(self.given), self._asked_at)
            except Lost:
                if self.given:
                    raise StreamLost("the response became void") from None
                self.join()
                continue
            if piece is None:
                return
            self.given.append(piece)
            yield piece
        [known] = self.given
        yield known

    def _has_more(self, flight: Flight[Value]) -> bool:
        return flight.next_piece(len(self.given), self._asked_at) is not None

    def __iter__(self) -> Iterator[Value]:
        decode = self._cache.codec.pieces()
        assert decode is not None
        request, hooks = self._question.request, self._cache.hooks
        is_first = True
        for response in self.responses():
            try:
                is_whole = self.source in ("local", "hit", "stale")
                piece = self._cache.codec.decode(response) if is_whole else decode(response, False)
            except Exception as error:  # noqa: BLE001  the codec's
                self._ask_anew(error)
                for piece in self:
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
