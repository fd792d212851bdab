"""Redis is gone, hangs, or forgets who listens."""

import asyncio
import signal
import time
from collections.abc import Callable

import pytest

from chat_service.chat import Chat
from chat_service.model import StandInModel
from chat_service.settings import Settings
from tests.servers import Server, Service, until

# Sources of a response that the model was asked for.
MODEL = ("computed", "uncached")

Start = Callable[..., Service]


def test_without_redis_the_model_responds_and_the_metrics_say_so(start: Start, redis_server: Server) -> None:
    service = start()
    service.ask("hi")
    redis_server.stop()
    until("memory is no longer trusted", lambda: service.ask("hi")[1] in MODEL)
    until("it is noticed", lambda: service.metric("chatcache_up") == 0)

    def degraded() -> float:
        return service.metric('chat_degraded_total{reason="down"}')

    until("the metrics say so", lambda: service.ask("another")[1] in MODEL and degraded() > 0)
    before = degraded()
    assert service.ask("another")[1] in MODEL
    assert degraded() == before + 1
    assert service.stream("another")[0] == ("source", '"uncached"')

    redis_server.start()
    until("it caches again", lambda: service.ask("hi")[1] in ("local", "hit"))
    assert service.metric("chatcache_up") == 1


def test_without_redis_a_crowd_costs_a_call_of_each_process(start: Start, redis_server: Server) -> None:
    service = start(2)
    redis_server.stop()
    until("it is noticed", lambda: service.metric("chatcache_up") == 0)
    assert len({response for response, _ in service.ask_at_once(40, "slow")}) <= 2
    assert service.model_calls <= 2


def test_it_starts_without_redis(start: Start, redis_server: Server) -> None:
    redis_server.stop()
    service = start()
    assert service.ask("hi")[1] in MODEL
    redis_server.start()
    until("it caches", lambda: service.ask("hi")[1] in ("local", "hit"))


def test_a_redis_that_hangs_does_not_hang_the_service(start: Start, redis_server: Server) -> None:
    service = start(1, wait_ms="200")
    service.ask("hi")
    redis_server.process.send(signal.SIGSTOP)
    until("the model is asked", lambda: service.ask("hi")[1] in MODEL)
    assert service.ask("another")[1] in MODEL
    assert service.metric('chat_degraded_total{reason="down"}') > 0
    redis_server.process.send(signal.SIGCONT)
    until("it caches again", lambda: service.ask("hi")[1] in ("local", "hit"))


def test_what_redis_was_not_told_is_not_reported_as_done(start: Start, redis_server: Server) -> None:
    service = start()
    redis_server.stop()
    assert service.post("/personas/helper/prompt", prompt="new").status_code == 503
    assert service.post("/deploy").status_code == 503
    assert service.forget("ann").status_code == 503


def test_a_full_redis_forgets_all_the_same(start: Start, redis_server: Server) -> None:
    service = start()
    ann, bob = service.ask("hi", user="ann")[0], service.ask("hi", user="bob")[0]
    redis_server.client.config_set("maxmemory", "1mb")  # and nothing may be evicted
    assert service.ask("another")[1] in MODEL
    assert service.forget("ann").json() == {"invalidated": 1}
    assert service.ask("hi", user="ann")[0] != ann
    assert service.post("/deploy").json() == {"invalidated": 1}
    assert service.ask("hi", user="bob")[0] != bob


@pytest.mark.module("max-response-bytes", "1kb")
def test_a_response_that_redis_refuses_is_given_and_leaves_no_lease(start: Start) -> None:
    service = start()
    for _ in range(2):
        assert service.ask("long")[1] in MODEL
        # Long before it runs out.
        until("the lease is given back", lambda: service.metric("chatcache_leases") == 0, seconds=10)
    assert service.metric('chat_failures_total{operation="append"}') == 2
    assert service.metric('chat_degraded_total{reason="busy"}') == 0


def test_why_redis_cannot_help_is_logged(start: Start, redis_server: Server) -> None:
    redis_server.run("ACL", "SETUSER", "default", "-client")
    service = start()
    assert service.ask("hi")[1] in MODEL
    until("the service says why", lambda: "no permissions" in service.process.log())
    redis_server.run("ACL", "SETUSER", "default", "+client", "-chatcache.flush")
    until("it caches", lambda: service.metric("chatcache_up") == 1)
    assert service.post("/deploy").status_code == 503
    assert "chatcache.flush" in service.process.log()


def test_any_bytes_may_be_in_redis(start: Start, redis_server: Server) -> None:
    service = start()
    other = redis_server.client
    other.execute_command("CHATCACHE.INVALIDATE", b"chat/persona/\xff")
    until("it is told", lambda: service.metric("chat_invalidations_total") > 0)
    assert service.ask("hi")[1] in MODEL
    until("memory is trusted", lambda: service.ask("hi")[1] == "local")
    other.execute_command("CHATCACHE.SET", "response", "ann", "chat/persona/helper", "bytes", b"caf\xe9")
    assert service.ask("bytes") == ("caf\N{REPLACEMENT CHARACTER}", "hit")


def test_a_redis_that_lost_its_data_has_one_prompt_for_all_processes(redis_server: Server) -> None:
    settings = Settings(redis_url=redis_server.url, l1_items=0)

    async def prompts() -> list[str]:
        async with (
            Chat(settings, StandInModel(0.001, 0.002)) as one,
            Chat(settings, StandInModel(0.001, 0.002)) as two,
        ):

            async def ask(process: Chat, message: str) -> str:
                return (await process.respond("ann", "helper", message)).value

            await one.change_prompt("helper", "old", soft=False)
            await ask(two, "first")
            await one.change_prompt("helper", "new", soft=False)
            await ask(one, "second")
            redis_server.client.flushall()
            return [
                (await ask(process, message)).split("]")[0]
                for process, message in ((one, "third"), (two, "fourth"))
            ]

    assert asyncio.run(prompts()) == ["[You are helper."] * 2


def test_a_redis_that_refuses_counts_as_no_cache(start: Start, redis_server: Server) -> None:
    service = start(1, l1_items="0")
    redis_server.run("ACL", "SETUSER", "default", "-chatcache.fetch")
    assert service.ask("hi")[1] in MODEL
    assert service.metric('chat_degraded_total{reason="refused"}') == 1
    assert service.metric('chat_failures_total{operation="fetch"}') == 1


def test_a_response_whose_prompt_may_be_old_is_not_kept(start: Start, redis_server: Server) -> None:
    service = start()
    service.prompt("first")
    service.ask("hi")
    redis_server.run("ACL", "SETUSER", "default", "-get")
    for _ in range(2):
        response, source = service.ask("another")
        assert response.startswith("[first]")
        assert source in MODEL
    assert service.metric('chat_failures_total{operation="prompt"}') == 2
    assert service.metric("chatcache_leases") == 0


def test_an_invalidation_is_not_lost_with_the_connection_that_listens(
    start: Start, redis_server: Server
) -> None:
    service = start(1, l1_ttl_s="3600")
    for _ in range(5):
        old, _ = service.ask("hi")
        until("it is in memory", lambda: service.ask("hi")[1] == "local")
        [watcher] = [client for client in redis_server.client.client_list() if "B" in client["flags"]]
        with redis_server.client.pipeline(transaction=True) as both:
            both.execute_command("CLIENT", "KILL", "ID", watcher["id"])
            both.execute_command("CHATCACHE.INVALIDATE", "chat/persona/helper")
            both.execute()
        killed_at = time.monotonic()
        while service.ask("hi")[0] == old:
            assert time.monotonic() < killed_at + 30, "the memory still has it"


def test_without_the_connection_that_listens_redis_is_still_asked(start: Start, redis_server: Server) -> None:
    service = start(1, l1_items="0", l1_lease_s="8")  # so it takes two seconds to connect again
    service.ask("hi")
    [watcher] = [client for client in redis_server.client.client_list() if "B" in client["flags"]]
    redis_server.run("CLIENT", "KILL", "ID", watcher["id"])
    until("it is noticed", lambda: "does not answer" in service.process.log())
    assert service.ask("hi")[1] == "hit"


def test_it_stops_whenever_it_is_told_to(redis_server: Server) -> None:
    settings = Settings(redis_url=redis_server.url, l1_lease_s=0.0001)

    async def start_and_stop() -> None:
        for turns in range(100):
            async with asyncio.timeout(30), Chat(settings, StandInModel()):
                # It talks to Redis all the time; so far is it with that.
                for _ in range(turns):
                    await asyncio.sleep(0)

    asyncio.run(start_and_stop())
