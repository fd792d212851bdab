"""The part of a cache that threads and asyncio share: settings, requests, the flights under way, failures."""

import functools
import inspect
import logging
import os
import threading
import time
import weakref
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import inf
from typing import Any, Generic, cast

from redis import ConnectionPool
from redis.backoff import NoBackoff
from redis.retry import Retry

from chatcache.codecs import TEXT, Codec, Value
from chatcache.errors import is_outage
from chatcache.flight import COMPUTING, At, Flight, Question
from chatcache.hooks import Hooks, Reason, Source
from chatcache.local import Local, Moment
from chatcache.request import Request, Text, Tier, as_bytes, sorted_json
from chatcache.servers import sentinels_of

log = logging.getLogger("chatcache")

# One FETCH waits no longer than this, so that a Redis that hangs is noticed. In seconds.
LONGEST_WAIT = 4.0

# The longest TTL and grace, 100 years. In seconds.
LONGEST_TIME = 3_162_240_000.0

# A caller whom so many flights could not serve goes on without a lease.
ATTEMPTS = 5

DOWN: Reason = "down"

# The caches of this process, which begin anew in a forked one.
CACHES: "weakref.WeakSet[Core[Any]]" = weakref.WeakSet()


@dataclass(frozen=True)
class Answer(Generic[Value]):
    """A value, and its source: local, hit, stale, computed, shared or uncached (see `hooks`)."""

    value: Value
    source: Source


def check_times(ttl: float | None, stale: float | None) -> None:
    """Raises ValueError for times that Redis would refuse once the model has spoken."""
    if ttl is not None and not 0.001 <= ttl <= LONGEST_TIME:
        raise ValueError(f"`ttl` is {ttl} s: it must be from 1 ms to 100 years")
    if stale is not None and not 0 <= stale <= LONGEST_TIME:
        raise ValueError(f"`stale` is {stale} s: it must be from 0 s to 100 years")


def always(_: Any) -> bool:
    return True


class Core(Generic[Value]):
    """The base of `Cache` and `AsyncCache`, whose parameters these are. All times are in seconds.

    `url` is redis-py's, or `redis+sentinel://host:port,host:port/service` for the master that sentinels name. `tier` is the tier of requests that name none, `ttl` and `stale` are a response's TTL and grace (None: the server's
    settings). A caller waits up to `wait` for another caller's response and then computes one, which is not stored.
    `lease` must be longer than a model call, or for a stream than the pause between two pieces. `timeout` bounds Redis'
    time to connect and to reply, beyond a wait that it was asked for. A waiting caller holds a connection, and so does one
    that computes: `max_connections` bounds them. `local` is the first level, `connection` has more options of redis-py's
    connections (ssl, username and so on), and `sentinel_kwargs` for those to sentinels.
    """

    def __init__(
        self,
        url: str = "redis://127.0.0.1:6379",
        codec: Codec[Value] = cast("Codec[Any]", TEXT),  # noqa: B008
        *,
        tier: Tier = "response",
        ttl: float | None = None,
        stale: float | None = None,
        wait: float = 30.0,
        lease: float = 30.0,
        timeout: float = 1.0,
        max_connections: int = 1_000,
        local: Local | None = None,
        hooks: Hooks | None = None,
        connection: Mapping[str, Any] | None = None,
    ) -> None:
        check_times(ttl, stale)
        if not 0.001 <= lease < inf or not 0 <= wait:
            raise ValueError("`lease` must be finite and 1 ms or more, and `wait` must not be negative")
        self.codec, self.tier, self.ttl, self.stale = codec, tier, ttl, stale
        self.wait, self.lease, self.timeout = wait, lease, timeout
        self.local, self.hooks = local, hooks or Hooks()
        self.longest_wait = min(max(self.wait, 1.0), LONGEST_WAIT)
        self.has_pieces = codec.pieces() is not None
        # Responses that were given without the cache because it was out of reach, and writes that were left out.
        self.failures = 0
        self._url, self._connection, self._max_connections = url, dict(connection or {}), max_connections
        self._sentinels = sentinels_of(url)
        if self._sentinels is not None and local is not None:
            raise ValueError(
                "Local needs the URL of one server: during a failover its promise would not hold"
            )
        self._is_failing = False
        self._told: set[str] = set()
        self.is_closed = False
        self._begin()
        self._open()
        CACHES.add(self)
        if local is not None:
            local.attach(self._local_pool, timeout, self.hooks)

    def _begin(self) -> None:
        """Begins without flights, as a child does after a fork: the threads that drive them are its parent's."""
        # A finalizer may end a flight while its thread holds the lock.
        self._lock = threading.RLock()
        self._flights: dict[At, Flight[Value]] = {}

    def _open(self) -> None:
        """Makes the clients of redis-py."""
        raise NotImplementedError

    def make_news(self) -> Any:
        """Makes what the callers of a flight wait by: its `notify` wakes them all."""
        raise NotImplementedError

    def _clients(self, kind: Any, sentinel_kind: Any, retry_kind: Any) -> tuple[Any, Any, list[Any]]:
        """Returns redis-py's clients for short commands, for commands that wait, and for the sentinels."""
        retry = retry_kind(NoBackoff(), 0)
        short, waiting, asked = self._connect(kind, sentinel_kind, retry)
        # The options of the URL and of `connection` are known now.
        options = waiting.connection_pool.connection_kwargs
        if options.get("decode_responses"):
            raise ValueError(
                "decode_responses is not possible: the codec decodes the responses, which are bytes"
            )
        if options.get("socket_timeout") is not None:
            options["socket_timeout"] += self.longest_wait
        return short, waiting, asked

    def _connect(self, kind: Any, sentinel_kind: Any, retry: Any) -> tuple[Any, Any, list[Any]]:
        options = self._options(retry)
        if self._sentinels is None:
            return kind.from_url(self._url, **options), kind.from_url(self._url, **options), []
        limits = {"socket_timeout": self.timeout, "socket_connect_timeout": self.timeout, "retry": retry}
        asked = {**limits, **self._connection.get("sentinel_kwargs", {})}
        sentinel = sentinel_kind(self._sentinels.hosts, sentinel_kwargs=asked)
        service = self._sentinels.service
        return (
            sentinel.master_for(service, **options),
            sentinel.master_for(service, **options),
            sentinel.sentinels,
        )

    def _options(self, retry: Any) -> dict[str, Any]:
        """Options of redis-py's pools: no retries, since a caller waits, and a FETCH again may take a second lease."""
        options = {
            "protocol": 2,
            "socket_timeout": self.timeout,
            "socket_connect_timeout": self.timeout,
            "retry": retry,
            "max_connections": self._max_connections,
            **(self._sentinels.options if self._sentinels else {}),
            **self._connection,
        }
        options.pop("sentinel_kwargs", None)
        return options

    def _local_pool(self) -> ConnectionPool:
        options = {**self._options(Retry(NoBackoff(), 0)), "protocol": 3}
        return ConnectionPool.from_url(self._url, **options)

    # Requests

    def _request(
        self, message: Text, persona: Text, user: Text, tier: str | None, id: Text | None
    ) -> Request:
        return Request(
            tier or self.tier,
            as_bytes(user),
            as_bytes(persona),
            as_bytes(message),
            None if id is None else as_bytes(id),
        )

    def key(
        self,
        message: Text,
        *,
        persona: Text,
        user: Text = "",
        tier: Tier | None = None,
        id: Text | None = None,
    ) -> bytes:
        """Returns the name of the entry's key without asking the server (which must not be a cluster)."""
        return self._request(message, persona, user, tier, id).key

    def times(self, question: Question[Value]) -> tuple[str | int, ...]:
        """The TTL and the grace of a response as options of a command."""
        ttl = () if question.ttl is None else ("PX", int(question.ttl * 1e3))
        return ttl if question.stale is None else (*ttl, "STALE", int(question.stale * 1e3))

    def _question(
        self,
        request: Request,
        ttl: float | None,
        stale: float | None,
        refresh: bool = False,
        should_store: Callable[[Value], bool] | None = None,
    ) -> Question[Value]:
        ttl = self.ttl if ttl is None else ttl
        stale = self.stale if stale is None else stale
        check_times(ttl, stale)
        return Question(request, ttl, stale, refresh, should_store or always)

    def _set(self, request: Request, value: Value, ttl: float | None, stale: float | None) -> tuple[Any, ...]:
        times = self.times(self._question(request, ttl, stale))
        return "CHATCACHE.SET", *request.words, self.codec.encode(value), *request.options, *times

    # Reading: `found` has the responses so far, by request.

    def _local_answers(self, requests: list[Request]) -> dict[Request, Answer[Value]]:
        found: dict[Request, Answer[Value]] = {}
        for request in requests:
            self._add(found, request, self.remembered(request), "local")
        return found

    def _add(
        self, found: dict[Request, Answer[Value]], request: Request, response: bytes | None, source: Source
    ) -> None:
        """Adds a response that the codec can read."""
        if response is None:
            return
        try:
            found[request] = Answer(self.codec.decode(response), source)
        except Exception as error:  # noqa: BLE001  the codec's
            self.unreadable(error)

    def _add_hits(
        self, found: dict[Request, Answer[Value]], missing: list[Request], replies: list[Any]
    ) -> None:
        self.succeeded()
        for request, response in zip(missing, replies, strict=True):
            self._add(found, request, response, "hit")

    def _answered(
        self, requests: list[Request], found: dict[Request, Answer[Value]], began_at: float
    ) -> list[Answer[Value] | None]:
        for request, answer in found.items():
            self.hooks.answered(request, answer.source, time.monotonic() - began_at)
        return [found.get(request) for request in requests]

    # The first level

    def moment(self) -> Moment:
        return Moment(0) if self.local is None else self.local.memory.moment()

    def covers(self, request: Request) -> bool:
        return self.local is not None and self.local.covers(request)

    def remembered(self, request: Request) -> bytes | None:
        return self.local.memory.get(request.shared) if self.local and self.local.covers(request) else None

    def remember(self, asked_at: Moment, request: Request, response: bytes, ttl: float | None) -> None:
        if self.local is not None and self.local.covers(request):
            self.local.memory.put(asked_at, request.shared, response, inf if ttl is None else ttl)

    @property
    def is_down(self) -> bool:
        """Whether `local` has found that Redis does not answer: then no caller waits for it."""
        return self.local is not None and not self.local.is_up

    def _invalidation(self, soft: bool, personas: Sequence[Text]) -> list[tuple[Any, ...]]:
        if not personas:
            raise ValueError("no persona is given")
        return [("CHATCACHE.SOFTINVALIDATE" if soft else "CHATCACHE.INVALIDATE", *map(as_bytes, personas))]

    def _everywhere(self, *command: Any) -> list[tuple[Any, ...]]:
        """The command, and a second one that tells all processes, since CLIENT TRACKING tells of no FLUSH and no FORGET."""
        more = [] if self.local is None else [("CHATCACHE.INVALIDATE", self.local.everything)]
        return [command, *more]

    def _changed(self) -> float:
        """No later caller joins a flight that began before a change. Returns the time until all processes know it."""
        with self._lock:
            self._flights.clear()
        return 0.0 if self.local is None else self.local.lease

    # Flights

    def join(
        self, question: Question[Value], streams: bool, asked_at: float, without: Reason | None
    ) -> tuple[Flight[Value], float]:
        """Returns the flight of a question, and the time after which the caller needs a proof of the response.

        It is minus infinity if the caller leads the flight. `without` is the reason of a caller who will have no lease.
        """
        if self.is_closed:
            raise RuntimeError("the cache is closed")
        with self._lock:
            if without == "down" and not (self._is_failing or self.local is not None):
                without = None  # Redis has answered meanwhile
            at = (question.request.shared, question.refresh, self.moment(), without)
            known = self._flights.get(at)
            if known in COMPUTING.get():
                raise RuntimeError("compute asks the question that it computes, and would wait for itself")
            if known is not None and without == "down":
                return known, min(asked_at, known.confirmed)
            if known is not None and (not known.is_closed or known.confirmed >= asked_at):
                return known, asked_at
            flight = self._flights[at] = Flight(self, question, streams, at)
        return flight, -inf

    def share_outage(self, flight: Flight[Value]) -> bool:
        """Offers a flight to later callers who find Redis out of reach too, until Redis answers again.

        Returns false if they have one already.
        """
        with self._lock:
            self.leave(flight)
            at = (*flight.at[:3], DOWN)
            if at in self._flights:
                return False
            if self._is_failing or self.local is not None:
                self._flights[at], flight.at = flight, at
            return True

    def leave(self, flight: Flight[Value]) -> None:
        with self._lock:
            if self._flights.get(flight.at) is flight:
                del self._flights[flight.at]

    def _source(self, flight: Flight[Value], leads: bool, waited: bool) -> Source:
        source = flight.source or "hit"
        if not leads and source in ("computed", "uncached") or source == "hit" and waited:
            return "shared"
        return source

    # What hooks and logs are told.

    def failed(self, operation: str, error: BaseException) -> None:
        self.hooks.failed(operation, error)
        if not is_outage(error):
            return
        self.failures += 1
        if not self._is_failing:  # once for each outage
            self._is_failing = True
            log.warning("chatcache: %s failed: %s: %s", operation, type(error).__name__, error)

    def succeeded(self) -> None:
        if self._is_failing:
            with self._lock:
                self._is_failing = False
                for at in [at for at in self._flights if at[-1] == "down"]:
                    del self._flights[at]
            log.warning("chatcache: Redis answers again")

    def lease_ended(self) -> None:
        self._tell_once(
            "chatcache: the lease of %s s ended before the model, so its response is not stored. `lease` must be longer",
            self.lease,
        )

    def unreadable(self, error: Exception) -> None:
        """A stored response counts as missing, as the codec cannot read it."""
        self.hooks.failed("decode", error)
        self._tell_once(
            "chatcache: the codec cannot read a stored response: %s: %s", type(error).__name__, error
        )

    def _tell_once(self, message: str, *values: Any) -> None:
        if message not in self._told:
            self._told.add(message)
            log.warning(message, *values)

    def computed(self, request: Request, began_at: float, error: BaseException | None) -> None:
        self.hooks.computed(request, time.monotonic() - began_at, error)

    # Replies

    def _map(self, reply: Any) -> dict[str, Any]:
        """A map of RESP2 or RESP3 with names as text."""
        pairs = reply.items() if isinstance(reply, dict) else zip(reply[::2], reply[1::2], strict=True)
        return {name.decode(): value for name, value in pairs}


def _begin_after_fork() -> None:
    for cache in list(CACHES):
        cache._begin()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_begin_after_fork)


class Template:
    """The request of a decorated function's call: persona, user and message filled in from its arguments."""

    def __init__(self, function: Callable[..., Any], persona: str, user: str, message: str | None) -> None:
        self._signature = inspect.signature(function)
        self._name = f"{function.__module__}.{function.__qualname__}"
        self._persona, self._user, self._message = persona, user, message

    def fill(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[str, str, str]:
        """Returns persona, user and message."""
        bound = self._signature.bind(*args, **kwargs)
        bound.apply_defaults()
        names = bound.arguments
        if self._message is None:
            message = sorted_json({"function": self._name, "arguments": names})
        else:
            message = self._message.format(**names)
        return self._persona.format(**names), self._user.format(**names), message


def wraps(function: Callable[..., Any]) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    return functools.wraps(function)
