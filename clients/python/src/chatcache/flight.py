"""A flight: one question on its way through Redis, for all callers of this process that ask it meanwhile.

`Flight.fly` makes every decision. It is a generator that yields its effects (a command, or the next piece of the model)
and is sent their results, so that threads and asyncio drive the same code.

A caller who joins a flight must not get a response that was invalidated before the caller came. So each flight remembers
when the latest command began that proved its response valid, and a caller who came later is given nothing. For a response
in the making that command is its APPEND, COMMIT or SET, which a change of the persona refuses. A caller whom the flight
cannot serve asks again.

A flight that cannot prove its response any more takes no more callers: its lease is void, or its connection broke. While
Redis is out of reach, callers who found that themselves share one flight that computes (`Core.share_outage`).
"""

import logging
import time
from collections.abc import Callable, Generator
from contextvars import ContextVar
from dataclasses import dataclass
from math import inf
from typing import TYPE_CHECKING, Any, Generic

from redis.exceptions import RedisError

from chatcache.codecs import Value
from chatcache.errors import NotStored, is_outage
from chatcache.hooks import Reason, Source
from chatcache.local import Moment
from chatcache.request import Request

if TYPE_CHECKING:
    from chatcache.core import Core

log = logging.getLogger("chatcache")

# A flight among those of the process: the request, `refresh`, the state of the first level when it began, and the reason
# if it is for callers who will have no lease: they have waited long enough, or found Redis out of reach.
At = tuple[Request, bool, Moment, Reason | None]


# The flights whose `compute` runs in this context.
COMPUTING: "ContextVar[tuple[Flight[Any], ...]]" = ContextVar("chatcache computing", default=())


@dataclass(frozen=True)
class Question(Generic[Value]):
    """What a caller wants, but for `compute`."""

    request: Request
    ttl: float | None
    stale: float | None
    refresh: bool
    should_store: Callable[[Value], bool]


@dataclass(frozen=True)
class Command:
    words: tuple[Any, ...]
    # The command waits: it needs a connection whose time-out is longer than its WAIT.
    waits: bool = False


@dataclass(frozen=True)
class NextPiece:
    """The next piece of the model as bytes, or None at its end."""


Effects = Generator[Command | NextPiece, Any, None]


class Lost(Exception):
    """The flight cannot serve this caller, which asks again."""


class Flight(Generic[Value]):
    def __init__(self, core: "Core[Value]", question: Question[Value], streams: bool, at: At) -> None:
        self._core, self._question = core, question
        self._request = question.request
        # The model speaks piece by piece: hand them over with APPEND.
        self._streams = streams
        self.at = at
        _, _, self.moment, self._without = at
        self.source: Source | None = None
        self.pieces: list[bytes] = []
        self.is_done = False
        self.error: BaseException | None = None
        # The response in the making is not for callers who joined (void), or for no caller (lost).
        self.is_void = False
        self.is_lost = False
        # It is lost since another flight computes for those who find Redis out of reach.
        self.is_down = False
        # When the latest command began that proved the response valid, by time.monotonic().
        self.confirmed = time.monotonic() if self._without == "down" else -inf
        # Serves the callers who came before `confirmed` only.
        self.is_closed = False
        # The lease that the flight's connection holds, and when its time began.
        self._token: bytes | None = None
        self._leased_at = -inf
        self._refresh: Refresh[Value] | None = None
        # Wakes the callers, who wait by it: the driver's.
        self.news: Any = core.make_news()

    # What callers read.

    def next_piece(self, given: int, asked_at: float) -> bytes | None:
        """Returns the next piece, or None if there is none now: `is_done` tells if there will be one.

        Raises the model's error, and `Lost`. The caller who leads the flight has asked at minus infinity.
        """
        leads = asked_at == -inf
        if self.is_lost:
            raise self.error if leads and self.error is not None else Lost
        if self.is_void and not leads:
            raise Lost
        if leads or self.confirmed >= asked_at:
            if given < len(self.pieces):
                return self.pieces[given]
            if self.is_done and self.error is not None:
                raise self.error
        elif self.is_done and self.error is not None and not isinstance(self.error, NotStored):
            raise self.error
        elif self.is_done or self.is_closed:
            raise Lost
        return None

    def whole(self) -> bytes:
        return b"".join(self.pieces)

    @property
    def holds_lease(self) -> bool:
        """Whether the connection may still hold a lease: then it must be closed, which ends the lease."""
        return self._token is not None or (self._refresh is not None and self._refresh.holds_lease)

    # What the flight tells them.

    def _settle(self, source: Source) -> None:
        self.source = source
        self.news.notify()

    def _add(self, piece: bytes) -> None:
        if piece:
            self.pieces.append(piece)
            self.news.notify()

    def _finish(self) -> None:
        self._core.leave(self)
        self.is_done = True
        self.news.notify()

    def _fail(self, error: BaseException) -> None:
        """Ends the flight with an error for all, or for its leader only if it is no error of the model but an exit."""
        if self.is_done:
            return
        self.is_lost = not isinstance(error, Exception)
        if not (self.is_lost and self._core.is_closed):
            self.error = error
        self._finish()

    def _lose(self) -> None:
        self.is_lost = True
        self._finish()

    def _void(self) -> None:
        """The response is for the flight's leader only."""
        self._token = None
        self.is_void = True
        self._core.leave(self)
        self.news.notify()

    def _close(self) -> None:
        """No command can prove the response any more, so it is for those who came before the latest proof."""
        self.is_closed = True
        self._core.leave(self)
        self.news.notify()

    def _command(self, name: str, *more: Any, waits: bool = False) -> Generator[Command, Any, Any]:
        """Runs a command; its success proves that the response was valid after the command began."""
        began_at = time.monotonic()
        words = (f"CHATCACHE.{name}", *self._request.words, *more, *self._request.options)
        reply = yield Command(words, waits)
        if reply is not None:
            self.confirmed = max(self.confirmed, began_at)
        return reply

    # The decisions.

    def fly(self) -> Effects:
        try:
            if self._without is not None:
                yield from self._without_lease(self._without)
            elif self._core.is_down:
                yield from self._without_redis()
            else:
                yield from self._fetch()
        except GeneratorExit as error:  # after which a generator has no more effects
            self._fail(error)
            raise
        except RedisError as error:
            self._core.failed("fetch", error)
            if not is_outage(error):
                self._fail(error)
            elif self.pieces:  # while reading along: the rest cannot be had
                self._lose()
            else:
                yield from self._without_redis()
        except BaseException as error:
            self._fail(error)
            if not isinstance(error, Exception):
                raise

    def _fetch(self) -> Effects:
        core, question = self._core, self._question
        # Reading along needs a codec with pieces, and a caller that does not refuse the present response.
        stream = ("STREAM",) if core.has_pieces and not question.refresh else ()
        more: tuple[Any, ...] = ("REFRESH",) if question.refresh else stream
        ends_at = time.monotonic() + core.wait
        waits = 0.0
        waited = False
        while True:
            fetch = self._command(
                "FETCH", *more, "WAIT", int(waits * 1e3), "LEASE", int(core.lease * 1e3), waits=waits > 0
            )
            state, response, token, number = yield from fetch
            core.succeeded()
            if state == b"hit":
                self._settle("shared" if waited else "hit")
                self._add(response)
                self._remember(number)
                return self._finish()
            if state == b"stale":
                self._settle("stale")
                self._add(response)
                self._finish()
                if token is not None:  # ours to refresh; nobody waits for it
                    self._refresh = Refresh(core, question, self._streams, self.at)
                    yield from self._refresh.compute(token)
                return
            if state == b"lease":
                return (yield from self.compute(token))
            if state == b"part":
                self._settle("shared")
                self._add(response)
                more = ("STREAM", "FROM", token, number)
                ends_at = inf  # the holder talks, and a lease that ends is told
            elif state == b"rest":
                self._settle("shared")
                self._add(response)
                self._remember(number)
                return self._finish()
            elif state == b"lost":
                if self.pieces:
                    return self._lose()
                more = stream
            elif not self.pieces and (known := core.remembered(self._request)) is not None:
                # busy, and meanwhile another flight of this process has the response
                self._settle("local")
                self._add(known)
                self.confirmed = inf
                return self._finish()
            waited = True
            waits = min(ends_at - time.monotonic(), core.longest_wait)
            if waits < 0.001:
                return (yield from self._without_lease("busy"))

    def compute(self, token: bytes) -> Effects:
        """Computes the response of a lease, piece by piece if the model speaks so, and stores it."""
        core, question = self._core, self._question
        self._token = token
        self._settle("computed")
        said: list[bytes] = []
        failure: RedisError | None = None  # of a write, with which the lease ends
        began_at = self._leased_at = time.monotonic()
        try:
            while (piece := (yield NextPiece())) is not None:
                if not piece:
                    continue
                if self._streams and failure is None and not self.is_void:
                    failure = yield from self._write("append", token, "APPEND", piece)
                said.append(piece)
                if self._streams:
                    self._add(piece)
            response = b"".join(said)
            should_store = question.should_store(core.codec.decode(response))
        except GeneratorExit:
            raise
        except BaseException as error:
            core.computed(self._request, began_at, error)
            yield from self._release(token)
            self._fail(error)
            if not isinstance(error, Exception):
                raise
            return
        core.computed(self._request, began_at, None)
        if failure is None and not self.is_void:
            if not should_store:
                if (yield from self._release(token)) == 0:
                    self._void()
            else:
                command: tuple[Any, ...] = ("COMMIT",) if self._streams and said else ("SET", response)
                failure = yield from self._write("set", token, *command, *core.times(question))
                if failure is None and not self.is_void:
                    self._token = None
                    core.remember(self.moment, self._request, response, question.ttl)
        if not self._streams:
            self._add(response)
        if failure is not None and not is_outage(failure):
            self._fail(NotStored(core.codec.decode(response), failure))
        else:
            self._finish()

    def _write(
        self, operation: str, token: bytes, name: str, *more: Any
    ) -> Generator[Command, Any, RedisError | None]:
        """Returns the error if the command fails, which ends the lease: the connection broke, or RELEASE gives it back.

        A void token makes the flight void.
        """
        began_at = time.monotonic()
        try:
            if (yield from self._command(name, *more, "TOKEN", token)) is None:
                if time.monotonic() - self._leased_at >= self._core.lease:
                    self._core.lease_ended()
                self._void()
            self._leased_at = began_at
            return None
        except RedisError as error:
            self._core.failed(operation, error)
            if not is_outage(error):
                yield from self._release(token)
            self._close()
            return error

    def _release(self, token: bytes) -> Generator[Command, Any, int | None]:
        """Gives the lease back; the first waiter gets it. Returns 0 if it was void already, None if RELEASE failed.

        A lease that was not void proves the response.
        """
        began_at = time.monotonic()
        words = ("CHATCACHE.RELEASE", *self._request.words, "TOKEN", token, *self._request.options)
        try:
            released: int = yield Command(words)
        except RedisError as error:
            self._core.failed("release", error)
            return None
        self._token = None
        if released:
            self.confirmed = max(self.confirmed, began_at)
        return released

    def _without_redis(self) -> Effects:
        if self._core.share_outage(self):
            yield from self._without_lease("down")
        else:
            self.is_down = True
            self._lose()

    def _without_lease(self, reason: Reason) -> Effects:
        """Computes a response that is not stored, for all callers that asked before it began."""
        core = self._core
        core.hooks.degraded(reason)
        began_at = time.monotonic()
        # Later callers share it too if a change would be noticed (`At`).
        self.is_closed = not core.covers(self._request)
        self.confirmed = began_at if self.is_closed else inf
        self._settle("uncached")
        try:
            while (piece := (yield NextPiece())) is not None:
                self._add(piece)
        except GeneratorExit:
            raise
        except BaseException as error:
            core.computed(self._request, began_at, error)
            self._fail(error)
            if not isinstance(error, Exception):
                raise
            return
        core.computed(self._request, began_at, None)
        if reason == "busy" and self._question.should_store(core.codec.decode(self.whole())):
            core.remember(self.moment, self._request, self.whole(), self._question.ttl)
        self._finish()

    def _remember(self, fresh_ms: int | None) -> None:
        fresh = None if fresh_ms is None else fresh_ms / 1e3
        self._core.remember(self.moment, self._request, self.whole(), fresh)


class Refresh(Flight[Value]):
    """Replaces a stale response. No caller reads it, so its errors go into the log."""

    def _fail(self, error: BaseException) -> None:
        log.warning("chatcache: a stale response was not refreshed: %s: %s", type(error).__name__, error)
