"""A flight: one question on its way through Redis, for all callers of this process that ask it meanwhile.

`Flight.fly` makes every decision. It is a generator that yields its effects (a command, or the next piece of the model)
and is sent their results, so that threads and asyncio drive the same code.

A caller who joins a flight must not get a response that was invalidated before the caller came. So each flight remembers
when the latest command began that proved its response valid, and a caller who came later is given nothing. For a response
in the making that command is its APPEND, COMMIT or SET, which a change of the persona refuses. A caller whom the flight
cannot serve asks again.
"""

import logging
import time
from collections.abc import Callable, Generator
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

# A flight among those of the process: the request, `refresh`, the state of the first level when it began, and whether it
# is for callers who have waited long enough and will have no lease.
At = tuple[Request, bool, Moment, bool]


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
        _, _, self.moment, self._is_late = at
        self.source: Source | None = None
        self.pieces: list[bytes] = []
        self.is_done = False
        self.error: Exception | None = None
        # The response in the making is not for callers who joined (void), or for no caller (lost).
        self.is_void = False
        self.is_lost = False
        # When the latest command began that proved the response valid, by time.monotonic().
        self.confirmed = -inf
        # Serves the callers who came before `confirmed` only.
        self.is_closed = False
        # Wakes the callers, who wait by it: the driver's.
        self.news: Any = core.make_news()

    # What callers read.

    def next_piece(self, given: int, asked_at: float) -> bytes | None:
        """Returns the next piece, or None if there is none now: `is_done` tells if there will be one.

        Raises the model's error, and `Lost`. The caller who leads the flight has asked at minus infinity.
        """
        leads = asked_at == -inf
        if self.is_lost or (self.is_void and not leads):
            raise Lost
        if leads or self.confirmed >= asked_at:
            if given < len(self.pieces):
                return self.pieces[given]
            if self.is_done and self.error is not None:
                raise self.error
        elif self.is_done:
            raise self.error or Lost
        return None

    def whole(self) -> bytes:
        return b"".join(self.pieces)

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
        if isinstance(error, Exception):
            self.error = error
        else:  # this process ends the flight, as by a cancellation: those who joined ask again
            self.is_lost = True
        self._finish()

    def _lose(self) -> None:
        self.is_lost = True
        self._finish()

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
            if self._is_late:
                yield from self._without_lease("busy")
            elif self._core.is_down:
                yield from self._without_lease("down")
            else:
                yield from self._fetch()
        except GeneratorExit:
            raise
        except RedisError as error:
            self._core.failed("fetch", error)
            if not is_outage(error):
                self._fail(error)
            elif self.pieces:  # while reading along: the rest cannot be had
                self._lose()
            else:
                yield from self._without_lease("down")
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
                    yield from Refresh(core, question, self._streams, self.at).compute(token)
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
        self._settle("computed")
        said: list[bytes] = []
        appended = 0
        refused: Exception | None = None
        began_at = time.monotonic()
        try:
            while (piece := (yield NextPiece())) is not None:
                if not piece:
                    continue
                if self._streams and appended == len(said) and not refused and not self.is_void:
                    done, refused = yield from self._write("append", token, "APPEND", piece)
                    appended += done
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
        if not should_store:
            self.is_void = (yield from self._release(token)) == 0
            self.confirmed = inf
        elif not refused and not self.is_void:
            command: tuple[Any, ...] = ("COMMIT",) if 0 < appended == len(said) else ("SET", response)
            done, refused = yield from self._write("set", token, *command, *core.times(question))
            if done and not self.is_void:
                core.remember(self.moment, self._request, response, question.ttl)
        if not self._streams:
            self._add(response)
        if refused:
            self._fail(NotStored(core.codec.decode(response), refused))
        else:
            self._finish()

    def _write(
        self, operation: str, token: bytes, name: str, *more: Any
    ) -> Generator[Command, Any, tuple[bool, Exception | None]]:
        """Returns true if Redis has carried out the command, and the error of a refusal.

        A void token makes the flight void; a refused command gives the lease back.
        """
        try:
            if (yield from self._command(name, *more, "TOKEN", token)) is None:
                self.is_void = True
                self.news.notify()
            return True, None
        except RedisError as error:
            self._core.failed(operation, error)
            self.confirmed = inf  # Redis proves nothing now: all callers share the response as it is
            if is_outage(error):
                return False, None
            yield from self._release(token)
            return False, error

    def _release(self, token: bytes) -> Generator[Command, Any, int | None]:
        """Gives the lease back; the first waiter gets it. Returns 0 if it was void already, None if Redis is out of reach."""
        words = ("CHATCACHE.RELEASE", *self._request.words, "TOKEN", token, *self._request.options)
        try:
            released: int = yield Command(words)
            return released
        except RedisError as error:
            self._core.failed("release", error)
            return None

    def _without_lease(self, reason: Reason) -> Effects:
        """Computes a response that is not stored, for all callers that asked before it began."""
        core = self._core
        core.hooks.degraded(reason)
        began_at = time.monotonic()
        # Later callers share it too if a change would be noticed (`At`), or cannot be made.
        self.is_closed = reason == "busy" and not core.covers(self._request)
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
