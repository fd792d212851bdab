"""The first level: responses in this process's own memory, and the connection that keeps them right.

Redis tells a client that tracks a persona when the persona is invalidated (CLIENT TRACKING, as a RESP3 push). The
promise kept here: `lease` seconds after INVALIDATE has replied, no process gives an older response from its memory, even
if its connection hangs, or broke without a word. Three rules keep it.

1. The connection is asked PING all the time. PONG comes after every push that was sent before it. So an answered PING
   confirms the memory as it was when the PING was sent. Without such a confirmation, not older than `lease`, nothing
   is given.
2. A new connection begins with an empty memory, since it does not know what the last one missed.
3. A response that was asked for before a push came is not kept: it may be the one that was invalidated.

The connection has a thread of its own, for asyncio too: a loop that is late does not make the memory late.
"""

import logging
import os
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from math import inf
from typing import Any, NewType

from redis import ConnectionPool

from chatcache.errors import is_refusal
from chatcache.hooks import Hooks
from chatcache.request import Request, as_bytes

log = logging.getLogger("chatcache")

Moment = NewType("Moment", int)


class Memory:
    """Responses by request, bounded by number and size. Safe for threads."""

    def __init__(self, items: int, ttl: float, lease: float, max_bytes: int) -> None:
        self._max_items, self._ttl, self._lease, self._max_bytes = items, ttl, lease, max_bytes
        self._lock = threading.Lock()
        self._items: OrderedDict[Request, tuple[float, bytes]] = OrderedDict()
        self._confirmed_at = -inf
        self._drops = 0

    def get(self, request: Request) -> bytes | None:
        now = time.monotonic()
        with self._lock:
            if now - self._confirmed_at > self._lease or (item := self._items.get(request)) is None:
                return None
            ends_at, response = item
            if now >= ends_at:
                del self._items[request]
                return None
            self._items.move_to_end(request)
            return response

    def moment(self) -> Moment:
        """To be taken before a response is asked for, and given to `put` with it."""
        return Moment(self._drops)

    def put(self, asked_at: Moment, request: Request, response: bytes, ttl: float = inf) -> None:
        size = len(response) + len(request.user) + len(request.persona) + len(request.message)
        ends_at = time.monotonic() + min(ttl, self._ttl)
        with self._lock:
            if asked_at != self._drops or size > self._max_bytes:
                return
            self._items[request] = (ends_at, response)
            self._items.move_to_end(request)
            while len(self._items) > self._max_items:
                self._items.popitem(last=False)

    def drop(self, persona: bytes) -> None:
        with self._lock:
            self._drops += 1
            for request in [request for request in self._items if request.persona == persona]:
                del self._items[request]

    def clear(self) -> None:
        with self._lock:
            self._drops += 1
            self._items.clear()

    def confirm(self, at: float) -> None:
        self._confirmed_at = at


class Local:
    """The settings of a first level, and the level itself once a cache has it.

    It holds responses of the tiers `persona` and `response` whose personas begin with `prefix`; in the other tiers a
    response may be another persona's, whose invalidation would not be told. The prefix should be as long as possible:
    Redis tells of each change of a key that begins with it. `items` bounds the number of responses and `max_bytes` the
    size of each, with its request; `ttl` is the longest time that one is kept, in seconds. A change takes `lease`
    seconds longer: `invalidate`, `forget` and `flush` return when all processes know it. DEL, FORGET and FLUSH by other
    clients reach the memory with its `ttl` only.
    """

    def __init__(
        self,
        *,
        prefix: str = "",
        items: int = 1_000,
        ttl: float = 10.0,
        lease: float = 0.2,
        max_bytes: int = 16_384,
    ) -> None:
        if lease <= 0:
            raise ValueError("the lease is not positive")
        self.lease = lease
        self.prefix = as_bytes(prefix)
        # Has no responses. It is invalidated when all that the processes remember is outdated.
        self.everything = self.prefix + b"%everything"
        self._limits = (items, ttl, lease, max_bytes)
        self.memory = Memory(*self._limits)
        self._pause = lease / 4
        self._connect: Callable[[], ConnectionPool] | None = None
        self._hooks = Hooks()
        self._timeout = 0.0
        self._reset()

    def _reset(self) -> None:
        self._pid = os.getpid()
        self._stop = threading.Event()
        self._has_tried = threading.Event()
        self._answered_at = -inf
        self._logged_at = -inf
        self._refusal: Exception | None = None
        self._thread: threading.Thread | None = None

    def attach(self, connect: Callable[[], ConnectionPool], timeout: float, hooks: Hooks) -> None:
        """Gives the level to a cache, whose first request starts its thread."""
        if self._connect is not None:
            raise ValueError("this Local belongs to another cache already")
        self._connect, self._timeout, self._hooks = connect, timeout, hooks

    def covers(self, request: Request) -> bool:
        return request.tier in ("persona", "response") and request.persona.startswith(self.prefix)

    @property
    def is_up(self) -> bool:
        """Whether Redis has answered of late: if not, no caller should wait for it.

        Raises the error if Redis refuses the user: a wrong password, or a missing right.
        """
        self._begin()
        if self._refusal is not None:
            raise self._refusal.with_traceback(None)
        late = time.monotonic() - self._answered_at
        return not self._has_tried.is_set() or late < self._timeout + 4 * self._pause

    def _begin(self) -> None:
        if self._pid != os.getpid():  # a fork, which has no threads
            self.memory = Memory(*self._limits)
            self._reset()
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="chatcache-local", daemon=True)
            self._thread.start()

    def wait_until_tried(self) -> None:
        """Waits until Redis has replied, or the first connection has failed."""
        self._begin()
        self._has_tried.wait(self._timeout * 3 + 1)

    def close(self) -> None:
        self._stop.set()
        if self._thread is not None and self._pid == os.getpid():
            self._thread.join(self._timeout * 2 + 1)

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                self._watch()
            except Exception as error:  # noqa: BLE001  without this connection the memory gives nothing
                if self._answered_at >= self._logged_at:  # for the first time since it answered
                    log.warning("chatcache: Redis does not answer: %s: %s", type(error).__name__, error)
                    self._logged_at = time.monotonic()
                self._refusal = error if is_refusal(error) else None
            self._has_tried.set()
            self._stop.wait(self._pause)

    def _watch(self) -> None:
        assert self._connect is not None
        connection: Any = self._connect().make_connection()
        try:
            connection.connect()
            # redis-py has this for its own cache of replies; its name was another one in 5.0.
            parser = connection._parser
            names = ("set_invalidation_push_handler", "set_push_handler")
            next(getattr(parser, name) for name in names if hasattr(parser, name))(self._told)
            tracking = ("CLIENT", "TRACKING", "ON", "BCAST", "PREFIX", self.prefix)
            connection.send_command(*(tracking if self.prefix else tracking[:4]))
            connection.read_response()
            self.memory.clear()
            self._refusal = None
            while not self._stop.is_set():
                sent_at = time.monotonic()
                connection.send_command("PING")
                connection.read_response()  # and with it come all pushes that were sent before: `_told`
                self._answered_at = time.monotonic()
                self.memory.confirm(sent_at)
                self._has_tried.set()
                self._stop.wait(self._pause)
        finally:
            connection.disconnect()

    def _told(self, push: list[Any]) -> None:
        if as_bytes(push[0]) != b"invalidate":
            return
        self._hooks.invalidated()
        keys = push[1]
        for key in [self.everything] if keys is None else keys:  # no list: FLUSHALL
            if as_bytes(key) == self.everything:
                self.memory.clear()
            else:
                self.memory.drop(as_bytes(key))
