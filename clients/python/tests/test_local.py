"""The first level: its races one by one, and its promise about changes."""

import signal
import time
from collections.abc import Iterator

import pytest
import redis

from chatcache import Answer, Cache, Hooks, Local
from chatcache.local import Memory
from chatcache.request import Request
from tests.servers import Server, until


def request(user: str = "ann", persona: str = "helper", message: str = "hi") -> Request:
    return Request("response", user.encode(), persona.encode(), message.encode())


HI = request()
LEASE = 0.2


def confirmed(items: int = 10, lease: float = 3600, ttl: float = 3600) -> Memory:
    memory = Memory(items, ttl, lease, 16_384)
    memory.confirm(time.monotonic())
    return memory


def test_a_response_that_crossed_an_invalidation_is_not_kept() -> None:
    memory = confirmed()
    asked_at = memory.moment()
    memory.drop(b"helper")
    memory.put(asked_at, HI, b"old")
    assert memory.get(HI) is None
    memory.put(memory.moment(), HI, b"new")
    assert memory.get(HI) == b"new"


def test_a_persona_goes_and_the_others_stay() -> None:
    memory = confirmed()
    poet = request(persona="poet")
    for one in (HI, poet):
        memory.put(memory.moment(), one, b"response")
    memory.drop(b"helper")
    assert (memory.get(HI), memory.get(poet)) == (None, b"response")
    memory.clear()
    assert memory.get(poet) is None


def test_nothing_is_given_that_was_not_confirmed_of_late() -> None:
    memory = Memory(10, 3600, 10, 16_384)
    memory.put(memory.moment(), HI, b"response")
    assert memory.get(HI) is None
    memory.confirm(time.monotonic())
    assert memory.get(HI) == b"response"
    memory.confirm(time.monotonic() - 11)
    assert memory.get(HI) is None


def test_a_response_is_given_for_its_time_only() -> None:
    memory = confirmed()
    memory.put(memory.moment(), HI, b"response", 0.01)
    time.sleep(0.02)
    assert memory.get(HI) is None
    brief = confirmed(ttl=0)
    brief.put(brief.moment(), HI, b"response")
    assert brief.get(HI) is None


def test_memory_holds_no_more_than_it_may() -> None:
    memory = confirmed(items=2)
    many = [request(message=str(number)) for number in range(3)]
    for one in many:
        memory.put(memory.moment(), one, b"response")
    assert [memory.get(one) for one in many] == [None, b"response", b"response"]
    long = "x" * 100_000
    for one in (request(user=long), request(persona=long), request(message=long)):
        memory.put(memory.moment(), one, b"r")
        assert memory.get(one) is None
    memory.put(memory.moment(), HI, long.encode())
    assert memory.get(HI) is None
    none = confirmed(items=0)
    none.put(none.moment(), HI, b"response")
    assert none.get(HI) is None


@pytest.fixture
def cache(server: Server) -> Iterator[Cache]:
    with Cache(server.url, timeout=0.3, local=Local(prefix="chat/", lease=LEASE)) as cache:
        yield cache


def ask(
    cache: Cache, value: str = "model", persona: str = "chat/helper", tier: str = "response"
) -> Answer[str]:
    return cache.get_or_compute(lambda: value, "hi", persona=persona, user="ann", tier=tier)  # type: ignore[arg-type]


def in_memory(cache: Cache, value: str = "old") -> None:
    until("it is in memory", lambda: ask(cache, value) == Answer("old", "local"))


def until_new(cache: Cache) -> None:
    """Called after a change: the old response may be given for the lease, and then no more."""
    changed_at = time.monotonic()
    while (asked_at := time.monotonic()) and ask(cache, "new").value == "old":
        assert asked_at <= changed_at + LEASE


def test_a_response_comes_from_memory_and_costs_redis_nothing(server: Server, cache: Cache) -> None:
    in_memory(cache)
    fetches = server.calls("chatcache.fetch")
    assert [ask(cache).source for _ in range(10)] == ["local"] * 10
    assert cache.get("hi", persona="chat/helper", user="ann") == Answer("old", "local")
    assert server.calls("chatcache.fetch") == fetches
    for tier in ("msg", "session"):  # in which it may be another persona's
        assert [ask(cache, tier=tier).source for _ in range(3)] == ["computed", "hit", "hit"]
    assert [ask(cache, persona="other").source for _ in range(3)] == ["computed", "hit", "hit"]


def test_a_change_by_any_client_is_in_force_within_the_lease(server: Server, cache: Cache) -> None:
    for _ in range(3):
        in_memory(cache)
        server.run("CHATCACHE.INVALIDATE", "chat/helper")
        until_new(cache)
        assert ask(cache).value == "new"
        cache.invalidate("chat/helper")
        assert ask(cache, "old").value == "old"


@pytest.mark.slow
def test_changes_return_when_all_processes_know(server: Server, cache: Cache) -> None:
    with Cache(server.url, local=Local(prefix="chat/")) as other:
        for change in (
            lambda: other.invalidate("chat/helper"),
            lambda: other.forget("ann"),
            lambda: other.flush(),
        ):
            in_memory(cache)
            assert change() >= 1
            assert ask(cache, "new") == Answer("new", "computed")
            cache.invalidate("chat/helper")
        in_memory(cache)
        server.client.flushall()
        until("it is told", lambda: ask(cache, "new").value == "new")


@pytest.mark.slow
def test_a_change_is_not_lost_with_the_connection_that_listens(server: Server, cache: Cache) -> None:
    for _ in range(5):
        in_memory(cache)
        [watcher] = [client for client in server.client.client_list() if "B" in client["flags"]]
        with server.client.pipeline(transaction=True) as both:
            both.execute_command("CLIENT", "KILL", "ID", watcher["id"])
            both.execute_command("CHATCACHE.INVALIDATE", "chat/helper")
            both.execute()
        until_new(cache)
        cache.invalidate("chat/helper")


def test_a_server_that_hangs_makes_memory_unsafe_and_holds_nobody_up(server: Server, cache: Cache) -> None:
    in_memory(cache)
    server.process.send(signal.SIGSTOP)
    stopped_at = time.monotonic()
    while (asked_at := time.monotonic()) and ask(cache).source == "local":
        assert asked_at <= stopped_at + LEASE
    until("it is known to be down", lambda: cache.is_down)
    began_at = time.monotonic()
    assert [ask(cache).source for _ in range(20)] == ["uncached"] * 20
    assert time.monotonic() - began_at < 3  # not a time-out each
    server.process.send(signal.SIGCONT)
    in_memory(cache)


def test_a_cache_starts_without_redis(server: Server) -> None:
    server.stop()
    with Cache(server.url, local=Local()) as cache:
        assert ask(cache).source == "uncached"
        server.start()
        in_memory(cache)


@pytest.mark.parametrize("user", ["service:wrong", "reader:secret"])
def test_a_refused_user_is_raised_at_each_call(server: Server, user: str) -> None:
    server.run("ACL", "SETUSER", "service", "on", ">secret", "+@all", "~*")
    server.run("ACL", "SETUSER", "reader", "on", ">secret", "+@all", "-client|tracking", "~*")
    with Cache(server.url.replace("//", f"//{user}@"), local=Local()) as cache:
        for _ in range(3):
            with pytest.raises(redis.RedisError):
                ask(cache)
            with pytest.raises(redis.RedisError):
                cache.get("hi", persona="chat/helper", user="ann")
        server.run("ACL", "SETUSER", "reader", "+client|tracking")
        server.run("ACL", "SETUSER", "service", ">wrong")
        until("it is let in", lambda: ask(cache).source == "local")


def test_any_bytes_may_be_invalidated(server: Server, cache: Cache) -> None:
    in_memory(cache)
    server.run("CHATCACHE.INVALIDATE", b"chat/\xff")
    in_memory(cache)


def test_entering_a_cache_waits_until_changes_are_heard_of(server: Server) -> None:
    class Seen(Hooks):
        def __init__(self) -> None:
            self.invalidations = 0

        def invalidated(self) -> None:
            self.invalidations += 1

    for number in range(20):
        seen = Seen()
        with Cache(server.url, local=Local(), hooks=seen):
            server.run("CHATCACHE.INVALIDATE", f"persona {number}")
            until("it is told", lambda seen=seen: seen.invalidations)  # type: ignore[misc]


def test_one_local_is_one_caches(server: Server) -> None:
    local = Local()
    Cache(server.url, local=local)
    with pytest.raises(ValueError, match="another cache"):
        Cache(server.url, local=local)
