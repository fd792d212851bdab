"""The first level: answers in this process's own memory, and the connection that keeps them right.

Redis tells a client that tracks a persona when the persona's answers are dropped (CLIENT TRACKING, as a RESP3
push). The promise kept here: so long (`l1_lease_s`) after INVALIDATE has replied, no process gives an older answer
from its memory, even if its connection hangs, or broke without a word. Three rules keep it.

1. The connection is asked PING all the time. PONG comes after every push that was sent before it; so an answered
   PING confirms the memory as it was when the PING was sent. Without such a confirmation, not older than
   `l1_lease_s`, nothing is given.
2. A connection that is new begins with an empty memory, since it does not know what the last one missed.
3. An answer that was asked for before a push came is not kept: it may be the one that was dropped.
"""

import asyncio
import logging
import time
from dataclasses import astuple, dataclass, replace
from math import inf
from typing import NewType, cast

from cachetools import TTLCache
from redis._parsers import AsyncPushNotificationsParser
from redis.asyncio import Connection, ConnectionPool

from chat_service import metrics
from chat_service.settings import Settings

log = logging.getLogger(__name__)

# All personas of this service begin so, in Redis: what a process tracks is this prefix.
PERSONA_PREFIX = "chat/persona/"
# And this one, which is invalidated (though it has no answers) when all that the processes remember is outdated.
EVERYTHING_KEY = "chat/everything"

# Longer answers (with what was asked) are left to Redis, so that the number of items bounds the memory.
MAX_CHARS = 16_384

Moment = NewType("Moment", int)


@dataclass(frozen=True)
class Request:
    user: str
    persona: str
    message: str


class LocalCache:
    """Answers by request. It never awaits, so that nothing comes between its look and its act."""

    def __init__(self, settings: Settings) -> None:
        self._items: TTLCache[Request, str] = TTLCache(settings.l1_items, settings.l1_ttl_s)
        self._tier = settings.tier
        self._lease_s = settings.l1_lease_s
        self._confirmed_at = -inf
        self._drops = 0

    def shared(self, request: Request) -> Request:
        """The same for all who share the answer."""
        return request if self._tier == "response" else replace(request, user="")

    def get(self, request: Request) -> str | None:
        if time.monotonic() - self._confirmed_at > self._lease_s:
            return None
        return self._items.get(self.shared(request))

    def now(self) -> Moment:
        """To be taken before an answer is asked for, and given to `put` with it."""
        return Moment(self._drops)

    def put(self, asked_at: Moment, request: Request, answer: str) -> None:
        shared = self.shared(request)
        if (
            asked_at == self._drops
            and self._items.maxsize > 0
            and sum(map(len, (answer, *astuple(shared)))) <= MAX_CHARS
        ):
            self._items[shared] = answer

    def drop(self, persona: str) -> None:
        self._drops += 1
        for request in [request for request in self._items if request.persona == persona]:
            self._items.pop(request, None)

    def clear(self) -> None:
        self._drops += 1
        self._items.clear()

    def confirm(self, at: float) -> None:
        self._confirmed_at = at


class Watcher:
    """One connection, for what Redis pushes and for whether it answers at all."""

    def __init__(self, settings: Settings, local: LocalCache) -> None:
        self._local = local
        self._pause_s = settings.l1_lease_s / 4
        self._timeout_s = settings.redis_timeout_s
        self._answered_at = -inf
        # Set once the first try has ended, well or badly.
        self.has_tried = asyncio.Event()
        self._pool: ConnectionPool = ConnectionPool.from_url(
            settings.redis_url,
            protocol=3,
            decode_responses=True,
            encoding_errors="replace",
            # Not redis-py's time-out, but ours below: it sends by asyncio.wait_for, and that of Python 3.11 loses a
            # cancellation that comes in the moment in which the sending is done. Then the service would not stop.
            socket_timeout=None,
            socket_connect_timeout=self._timeout_s,
        )

    @property
    def redis_is_up(self) -> bool:
        """Whether Redis has answered of late: if not, do not make a user wait for it."""
        return time.monotonic() - self._answered_at < self._timeout_s + 4 * self._pause_s

    async def run(self) -> None:
        """Until it is cancelled."""
        logged_at = -inf
        while True:
            connection = self._pool.make_connection()
            try:
                await self._watch(connection)
            except Exception as error:  # noqa: BLE001  without this connection nothing is cached, so whatever it is
                if self._answered_at >= logged_at:  # for the first time since it answered
                    log.warning("Redis does not answer: %s: %s", type(error).__name__, error)
                    logged_at = time.monotonic()
            finally:
                self.has_tried.set()
                await connection.disconnect(nowait=True)
            await asyncio.sleep(self._pause_s)

    async def _watch(self, connection: Connection) -> None:
        async with asyncio.timeout(self._timeout_s):
            await connection.connect()
        # redis-py's own cache of answers is for its synchronous client only; the hook is there for both.
        parser = cast(AsyncPushNotificationsParser, connection._parser)
        parser.set_invalidation_push_handler(self._told)
        prefixes = ("PREFIX", PERSONA_PREFIX, "PREFIX", EVERYTHING_KEY)
        await self._ask(connection, "CLIENT", "TRACKING", "ON", "BCAST", *prefixes)
        self._local.clear()
        while True:
            sent_at = time.monotonic()
            await self._ask(connection, "PING")  # and with its reply comes all that was pushed before: _told
            self._answered_at = time.monotonic()
            self._local.confirm(sent_at)
            self.has_tried.set()
            await asyncio.sleep(self._pause_s)

    async def _ask(self, connection: Connection, *command: str) -> None:
        async with asyncio.timeout(self._timeout_s):
            await connection.send_command(*command)
            await connection.read_response()

    async def _told(self, push: tuple[str, list[str] | None]) -> None:
        _, keys = push
        metrics.INVALIDATIONS.inc()
        for key in keys if keys is not None else [EVERYTHING_KEY]:  # no list: FLUSHALL
            if key == EVERYTHING_KEY:
                self._local.clear()
            else:
                self._local.drop(key.removeprefix(PERSONA_PREFIX))
