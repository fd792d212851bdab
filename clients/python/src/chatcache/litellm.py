"""A cache for LiteLLM, with the extra `litellm`: `litellm.cache = ChatcacheCache("redis://127.0.0.1:6379")`.

The namespace is the persona, so one INVALIDATE removes a namespace.

LiteLLM reads the cache, calls the model and writes the cache in three steps. A read that misses leaves a flight open
(`Open`), whose `compute` waits for the value that the write brings. Meanwhile the flight holds the lease, and all callers
of the same request wait for its value.

A call without a write must end its flight. Three things do so: LiteLLM's failure callback; the end of the call's `Logging`
object, after a cancellation or a stream that is not read to its end; and the lease, at the latest.

One event loop in a thread of its own serves all callers, which are threads and tasks of any event loop.
"""

import asyncio
import logging
import os
import re
import threading
import time
import weakref
from collections.abc import Callable, Coroutine, Mapping, Sequence
from concurrent.futures import Future
from contextlib import suppress
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, TypeVar

import litellm
from litellm.caching.base_cache import BaseCache
from litellm.caching.caching import Cache, CacheMode
from litellm.integrations.custom_logger import CustomLogger
from litellm.litellm_core_utils.streaming_handler import CustomStreamWrapper
from redis.exceptions import RedisError

from chatcache.aio import AsyncCache
from chatcache.codecs import JSON
from chatcache.core import Answer

log = logging.getLogger("chatcache")

# A key of LiteLLM: a hash, with a namespace before it.
KEY = re.compile(r"(?:(.*):)?([0-9a-f]{64})", re.DOTALL)

# Seconds from the end of a `Logging` object to the end of its flights: LiteLLM writes a stream's response later.
GRACE = 2.0


@dataclass(frozen=True)
class Call:
    """The call that LiteLLM reads the cache for. It has no reference to the call's `Logging` object."""

    # None if the call waits for no other and stores nothing.
    id: str | None
    # The parameter `cache`.
    control: Mapping[str, Any]


CALL: ContextVar[Call] = ContextVar("CALL")


class ChatcacheCache(Cache):  # type: ignore[misc]
    """`ttl` is in seconds; without it the server's setting of the tier `persona` holds.

    `cache_options` are those of `AsyncCache`. Its `lease` must be longer than a model call; the response of a call that
    takes longer is not stored.
    """

    def __init__(
        self,
        url: str = "redis://127.0.0.1:6379",
        *,
        namespace: str = "litellm",
        ttl: float | None = None,
        mode: CacheMode = CacheMode.default_on,
        supported_call_types: Sequence[str] | None = None,
        lease: float = 60.0,
        **cache_options: Any,
    ) -> None:
        more = {} if supported_call_types is None else {"supported_call_types": list(supported_call_types)}
        super().__init__(mode=mode, namespace=namespace, ttl=ttl, **more)

        def connect() -> AsyncCache[Any]:
            return AsyncCache(url, JSON, tier="persona", lease=lease, **cache_options)

        self.cache = Backend(connect, namespace, ttl)
        if FAILURES not in litellm.callbacks:
            litellm.callbacks.append(FAILURES)

    def get_cache_key(self, **kwargs: Any) -> str:
        """LiteLLM's key, without the parameter `stream`: a stored response is replayed in either way."""
        kwargs.pop("stream", None)
        key: str = super().get_cache_key(**kwargs)
        return key

    def get_cache(self, dynamic_cache_object: BaseCache | None = None, **kwargs: Any) -> Any:
        before = CALL.set(self.cache.watched(kwargs))
        try:
            return super().get_cache(dynamic_cache_object, **kwargs)
        finally:
            CALL.reset(before)

    async def async_get_cache(self, dynamic_cache_object: BaseCache | None = None, **kwargs: Any) -> Any:
        before = CALL.set(self.cache.watched(kwargs))
        try:
            return await super().async_get_cache(dynamic_cache_object, **kwargs)
        finally:
            CALL.reset(before)

    def invalidate(self, *namespaces: str) -> int:
        """Invalidates all responses of the namespaces, or of the cache's own. Returns their number."""
        removed: int = self.cache.invalidate(*namespaces or (self.namespace,))
        return removed

    def close(self) -> None:
        """Gives all leases back and closes all connections."""
        self.cache.close()


class Failures(CustomLogger):  # type: ignore[misc]
    """LiteLLM tells it of each call that failed. One serves all caches: LiteLLM takes no second one of a class."""

    def log_post_api_call(self, kwargs: Any, response_obj: Any, start_time: Any, end_time: Any) -> None:
        """Takes the stream out of the details of its `Logging` object, to which the stream refers.

        In a circle both would live on until Python's garbage collection, which does not come in a quiet process.
        """
        if isinstance(kwargs.get("original_response"), CustomStreamWrapper):
            kwargs["original_response"] = str(kwargs["original_response"])

    def log_failure_event(self, kwargs: Any, response_obj: Any, start_time: Any, end_time: Any) -> None:
        if isinstance(litellm.cache, ChatcacheCache):
            litellm.cache.cache.end(kwargs.get("litellm_call_id"))

    async def async_log_failure_event(
        self, kwargs: Any, response_obj: Any, start_time: Any, end_time: Any
    ) -> None:
        self.log_failure_event(kwargs, response_obj, start_time, end_time)


FAILURES = Failures()


class Backend(BaseCache):  # type: ignore[misc]
    """The methods by which LiteLLM reads and writes, from threads and tasks."""

    def __init__(self, connect: Callable[[], AsyncCache[Any]], namespace: str, ttl: float | None) -> None:
        super().__init__()
        self._namespace, self._ttl = namespace, ttl
        self._worker = Worker(connect)

    def get_cache(self, key: str, **kwargs: Any) -> Any:
        return self._worker.wait(self._read(key))

    async def async_get_cache(self, key: str, **kwargs: Any) -> Any:
        return await asyncio.wrap_future(self._worker.submit(self._read(key)))

    def set_cache(self, key: str, value: Any, **kwargs: Any) -> None:
        self._worker.wait(self._write([(key, value)], kwargs))

    async def async_set_cache(self, key: str, value: Any, **kwargs: Any) -> None:
        await self.async_set_cache_pipeline([(key, value)], **kwargs)

    async def async_set_cache_pipeline(self, cache_list: Sequence[tuple[str, Any]], **kwargs: Any) -> None:
        await asyncio.wrap_future(self._worker.submit(self._write(cache_list, kwargs)))

    async def batch_cache_write(self, key: str, value: Any, **kwargs: Any) -> None:
        await self.async_set_cache(key, value, **kwargs)

    async def disconnect(self) -> None:
        await asyncio.to_thread(self.close)

    def invalidate(self, *namespaces: str) -> int:
        return self._worker.wait(lambda flights: flights.cache.invalidate(*namespaces))

    def end(self, call: str | None) -> None:
        """The call has failed: it will not write."""
        self._worker.end(call, 0)

    def close(self) -> None:
        self._worker.close()

    def _entry(self, key: str) -> "Entry":
        """The namespace of LiteLLM's key is the persona. A key that the caller has chosen has none."""
        parts = KEY.fullmatch(key)
        return (self._namespace, key) if parts is None else (parts[1] or self._namespace, parts[2])

    def watched(self, kwargs: Mapping[str, Any]) -> Call:
        """Returns the call, whose flights end after its `Logging` object."""
        control = kwargs.get("cache") or {}
        call, about = kwargs.get("litellm_call_id"), kwargs.get("litellm_logging_obj")
        if call is None or about is None or control.get("no-store") is True:
            return Call(None, control)
        weakref.finalize(about, self._worker.end, call, GRACE).atexit = False
        return Call(call, control)

    def _read(self, key: str) -> "Work[Any]":
        call = CALL.get(Call(None, {}))
        ttl = seconds(call.control.get("ttl", self._ttl))
        max_age = seconds(call.control.get("s-maxage", call.control.get("s-max-age")))
        return lambda flights: flights.read(self._entry(key), call.id, ttl, max_age)

    def _write(self, pairs: Sequence[tuple[str, Any]], kwargs: Mapping[str, Any]) -> "Work[None]":
        values = [(self._entry(key), value) for key, value in pairs]
        call, ttl = kwargs.get("litellm_call_id"), seconds(kwargs.get("ttl", self._ttl))

        async def write(flights: Flights) -> None:
            await asyncio.gather(*(flights.write(entry, call, value, ttl) for entry, value in values))

        return write


def seconds(number: Any) -> float | None:
    return None if number is None else float(number)


# The persona and the message.
Entry = tuple[str, str]


class Open:
    """A flight between a read that missed and its write, or a read that waits for another call's."""

    def __init__(
        self, cache: AsyncCache[Any], entry: Entry, ttl: float | None = None, refresh: bool = False
    ) -> None:
        loop = asyncio.get_running_loop()
        self._lease = cache.lease
        self.is_asked: asyncio.Future[None] = loop.create_future()
        self.value: asyncio.Future[Any] = loop.create_future()
        persona, message = entry
        answer = cache.get_or_compute(self._compute, message, persona=persona, ttl=ttl, refresh=refresh)
        self.answer: asyncio.Task[Answer[Any]] = asyncio.create_task(answer)

    async def _compute(self) -> Any:
        """Waits for the value. A cancellation gives the lease back, and those who wait for it ask again."""
        if not self.is_asked.done():
            self.is_asked.set_result(None)
        await asyncio.wait((self.value,), timeout=self._lease)
        if not self.value.done():
            log.warning(
                "chatcache: a call of the model had no response within the lease of %s s", self._lease
            )
            self.end()
        return await self.value

    async def misses(self) -> bool:
        """Returns true if the caller has to call the model; if not, `answer` has its value."""
        try:
            await asyncio.wait((self.answer, self.is_asked), return_when=asyncio.FIRST_COMPLETED)
        except asyncio.CancelledError:
            self.end()
            raise
        return self.is_asked.done()

    def end(self) -> None:
        """There will be no value."""
        self.answer.cancel()
        self.value.cancel()


class Flights:
    """The open flights of each call. They live on the worker's event loop."""

    def __init__(self, cache: AsyncCache[Any]) -> None:
        self.cache = cache
        self.open: dict[str, dict[Entry, Open]] = {}
        self._is_refused = False

    async def read(
        self, entry: Entry, call: str | None, ttl: float | None, max_age: float | None
    ) -> Any | None:
        """Returns the value, or None if the caller has to call the model. A call without an ID waits for no other."""
        if call is None:
            answer = await self.cache.get(entry[1], persona=entry[0])
            return None if answer is None else answer.value
        if entry in self.open.get(call, {}):  # it asks again, since its model has failed
            return None
        value: Any = None
        for refresh in (False, True):
            flight = Open(self.cache, entry, ttl, refresh)
            if await flight.misses():
                self.open.setdefault(call, {})[entry] = flight
                return None
            value = flight.answer.result().value
            if max_age is None or time.time() - value["timestamp"] <= max_age:
                break
        return value  # LiteLLM looks at its age again

    async def write(self, entry: Entry, call: str | None, value: Any, ttl: float | None) -> None:
        flights = self.open.get(call or "", {})
        flight = flights.pop(entry, None)
        if call and not flights:
            self.open.pop(call, None)
        if flight is None:
            await self.cache.set(entry[1], value, persona=entry[0], ttl=ttl)
        elif not flight.value.done():
            flight.value.set_result(value)
            await flight.answer

    def end(self, call: str) -> None:
        for flight in self.open.pop(call, {}).values():
            flight.end()

    async def close(self) -> None:
        flights = [flight for call in self.open.values() for flight in call.values()]
        for call in list(self.open):
            self.end(call)
        await asyncio.gather(*(flight.answer for flight in flights), return_exceptions=True)
        await self.cache.aclose()

    def told(self, error: RedisError | None) -> None:
        """LiteLLM hides all errors of a cache, so the first of a series goes into the log."""
        if error is not None and not self._is_refused:
            log.warning("chatcache: Redis refuses: %s", error)
        self._is_refused = error is not None


T = TypeVar("T")

Work = Callable[[Flights], Coroutine[Any, Any, T]]


class Worker:
    """An event loop in a thread of its own, with the flights. A forked process starts another one."""

    def __init__(self, connect: Callable[[], AsyncCache[Any]]) -> None:
        self._connect = connect
        self._lock = threading.Lock()
        self._pid = 0
        self._loop: asyncio.AbstractEventLoop
        self._flights: Flights
        self._thread: threading.Thread
        # A forked process must not close its parent's connections.
        self._of_parents: list[Any] = []

    def submit(self, work: Work[T]) -> Future[T]:
        with self._lock:
            if self._pid != os.getpid():
                self._start()

        async def run(flights: Flights) -> T:
            try:
                result = await work(flights)
            except RedisError as error:
                flights.told(error)
                raise
            flights.told(None)
            return result

        return asyncio.run_coroutine_threadsafe(run(self._flights), self._loop)

    def _start(self) -> None:
        if self._pid:
            self._of_parents.append((self._loop, self._flights, self._thread))
        self._loop = asyncio.new_event_loop()
        self._flights = Flights(self._connect())
        self._thread = threading.Thread(target=self._loop.run_forever, name="chatcache-litellm", daemon=True)
        self._thread.start()
        self._pid = os.getpid()

    def wait(self, work: Work[T]) -> T:
        future = self.submit(work)
        try:
            return future.result()
        except BaseException:
            future.cancel()
            raise

    def end(self, call: str | None, delay: float) -> None:
        """Ends a call's flights after a delay. A finalizer may call it at any time, so it takes no lock."""
        if call is None or self._pid != os.getpid() or call not in self._flights.open:
            return
        end = (self._flights.end, call)
        with suppress(RuntimeError):  # the loop is closed
            self._loop.call_soon_threadsafe(*((self._loop.call_later, delay, *end) if delay else end))

    def close(self) -> None:
        with self._lock:
            if self._pid != os.getpid():
                return
            self._pid = 0
            asyncio.run_coroutine_threadsafe(self._flights.close(), self._loop).result()
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()
            self._loop.close()
