"""What a user of the service notices."""

import signal
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from tests.servers import Server, Service, until

Start = Callable[..., Service]

# The request that asks `slow`.
WORDS = ("response", "ann", "chat/persona/helper", "slow")


def test_a_question_asked_again_costs_no_model_call(start: Start) -> None:
    service = start(2)
    first, source = service.ask("hi")
    assert source == "computed"
    again = [service.ask("hi") for _ in range(20)]
    assert {response for response, _ in again} == {first}
    assert {source for _, source in again} <= {"local", "hit"}
    assert service.metric('chat_responses_total{source="local"}') > 0
    assert service.model_calls == 1


def test_a_crowd_costs_one_model_call(start: Start) -> None:
    service = start(2, wait_ms="10000")
    responses = service.ask_at_once(40, "slow")
    assert len({response for response, _ in responses}) == 1
    assert sorted(source for _, source in responses).count("computed") == 1
    assert service.model_calls == 1


def test_nobody_waits_long_for_another_callers_call(start: Start, redis_server: Server) -> None:
    service = start(2, wait_ms="100")
    redis_server.run("CHATCACHE.FETCH", *WORDS, "LEASE", 60_000)  # and never stores it
    redis_server.client.set("chat/prompt/helper", "new")
    responses = service.ask_at_once(20, "slow")
    assert {source for _, source in responses} <= {"uncached", "shared", "local"}
    assert all(response.startswith("[new]") for response, _ in responses)
    # One of each process, though the others asked while it was under way, or soon after.
    assert service.model_calls == 2
    assert service.metric('chat_degraded_total{reason="busy"}') >= 2


def test_what_was_asked_without_a_lease_is_not_given_after_a_change(
    start: Start, redis_server: Server
) -> None:
    service = start(1, wait_ms="100")
    service.prompt("old")
    redis_server.run("CHATCACHE.FETCH", *WORDS, "LEASE", 60_000)
    seen: list[str] = []
    asking = threading.Thread(target=lambda: seen.append(service.ask("slow")[0]))
    asking.start()
    until("the model is asked", lambda: service.model_calls == 1)
    service.prompt("new")
    assert service.ask("slow")[0].startswith("[new]")
    asking.join()
    assert seen[0].startswith("[old]")
    assert service.ask("slow")[0].startswith("[new]")


def test_what_a_persona_said_is_for_everybody_if_so_set(start: Start) -> None:
    service = start(1, tier="persona")
    response, _ = service.ask("hi", user="ann")
    again = [service.ask("hi", user=user) for user in ("ann", "bob", "eve")]
    assert {said for said, _ in again} == {response}
    assert again[-1][1] == "local"
    assert service.ask("hi", "poet")[0] != response


def test_users_and_personas_have_responses_of_their_own(start: Start) -> None:
    service = start()
    responses = {
        service.ask("hi", *who)[0] for who in [("helper", "ann"), ("helper", "bob"), ("poet", "ann")]
    }
    assert len(responses) == 3


def test_an_error_is_told_and_never_kept(start: Start) -> None:
    service = start()
    for calls in (1, 2):
        reply = service.post("/chat", user_id="ann", persona="helper", message="fail")
        assert (reply.status_code, reply.json()) == (502, {"detail": "the model gave no response"})
        assert service.model_calls == calls
    assert service.metric("chat_compute_errors_total") == 2
    # Given back, not left to run out.
    assert service.metric("chatcache_leases") == 0


def test_a_model_that_says_nothing_gave_no_response(start: Start) -> None:
    service = start()
    for calls in (1, 2):
        assert service.post("/chat", user_id="ann", persona="helper", message="silent").status_code == 502
        assert service.model_calls == calls
    assert service.stream("silent")[-1] == ("error", '"the model gave no response"')


def test_what_is_no_question_is_refused(start: Start) -> None:
    service = start()
    url = f"http://127.0.0.1:{service.port}/chat"
    for user, message in [('""', '"hi"'), ("NaN", '"hi"'), ('"ann"', r'"half a letter: \ud83d"')]:
        body = f'{{"user_id": {user}, "persona": "helper", "message": {message}}}'
        reply = httpx.post(url, content=body, headers={"content-type": "application/json"})
        assert reply.status_code == 422, body
    assert "Traceback" not in service.process.log()


@pytest.mark.module("ttl-response", "1")
def test_a_stale_response_is_given_at_once_and_refreshed(start: Start) -> None:
    service = start(1, l1_items="0")
    old, _ = service.ask("hi")
    response, _ = until("it gets stale", lambda: seen if (seen := service.ask("hi"))[1] == "stale" else None)
    assert response == old
    until("it is refreshed", lambda: service.ask("hi")[0] != old)
    assert service.metric('chat_responses_total{source="computed"}') == 1


def test_pieces_are_streamed_and_the_whole_is_kept(start: Start) -> None:
    service = start()
    [source, first, second, done] = service.stream("hi")
    assert (source, done[0]) == (("source", '"computed"'), "done")
    assert first == ("message", '"[You are helper.] "')
    [source, whole, done] = service.stream("hi")
    assert source in [("source", '"local"'), ("source", '"hit"')]
    assert whole[1] == first[1][:-1] + second[1][1:]


def test_a_stream_says_when_the_model_fails(start: Start) -> None:
    service = start()
    assert service.stream("fail")[-1] == ("error", '"the model gave no response"')
    assert service.stream("fail")[0] == ("source", '"computed"')


def test_a_user_who_goes_away_does_not_waste_the_response(start: Start) -> None:
    service = start()
    body = {"user_id": "ann", "persona": "helper", "message": "slow"}
    with httpx.stream("POST", f"http://127.0.0.1:{service.port}/chat/stream", json=body) as reply:
        next(reply.iter_raw())
    _, source = service.ask("slow")
    assert source in ("shared", "hit")
    assert service.model_calls == 1


def test_another_process_reads_along_for_one_model_call(start: Start) -> None:
    one, two = start(), start()
    with ThreadPoolExecutor(2) as callers:
        first = callers.submit(one.stream, "slow")
        until("it streams", lambda: one.metric("chatcache_drafts") == 1)
        second = callers.submit(two.stream, "slow")
    assert first.result()[0] == ("source", '"computed"')
    assert second.result()[0] == ("source", '"shared"')
    assert first.result()[1:] == second.result()[1:]
    assert (one.model_calls, two.model_calls) == (1, 0)


def test_a_stream_that_is_lost_begins_again(start: Start) -> None:
    one, two = start(), start()
    with ThreadPoolExecutor(2) as callers:
        callers.submit(one.stream, "slow")
        until("it streams", lambda: one.metric("chatcache_drafts") == 1)
        second = callers.submit(two.stream, "slow")
        until("it is read along", lambda: one.metric("chatcache_readers") == 1)
        one.process.send(signal.SIGKILL)
        events = second.result()
    names = [name for name, _ in events]
    assert names == ["source", "message", "restart", "source", "message", "message", "done"]
    assert [data for name, data in events if name == "source"] == ['"shared"', '"computed"']
    assert two.model_calls == 1


def test_a_response_begun_with_the_old_prompt_is_not_kept(start: Start, redis_server: Server) -> None:
    service = start(2)
    service.prompt("old")
    seen: list[str] = []
    asking = threading.Thread(target=lambda: seen.append(service.ask("slow")[0]))
    asking.start()
    until("it is being computed", lambda: redis_server.stat("leases") == 1)
    service.prompt("new")
    asking.join()
    assert seen[0].startswith("[old]")
    assert service.ask("slow")[0].startswith("[new]")


def test_a_new_prompt_is_in_force_in_all_processes_at_once(start: Start) -> None:
    # So long that the processes hear of it only after the next question has come.
    service = start(2, l1_lease_s="2")
    for version in range(3):
        service.prompt(f"v{version}")
        responses = {service.ask("hi")[0] for _ in range(20)}
        assert len(responses) == 1
        assert responses.pop().startswith(f"[v{version}]")
    assert service.metric('chat_responses_total{source="local"}') > 0


def test_a_soft_change_gives_the_old_response_until_the_new_one_is_there(start: Start) -> None:
    service = start()
    service.prompt("old")
    old, _ = service.ask("slow")
    service.prompt("new", soft=True)
    assert service.ask("slow") == (old, "stale")
    until("it is refreshed", lambda: service.ask("slow")[0].startswith("[new]"))


def test_a_deployment_drops_everything(start: Start) -> None:
    service = start(2)
    old = {persona: service.ask("hi", persona)[0] for persona in ("helper", "poet")}
    assert [service.ask("hi", persona)[0] for persona in old for _ in range(10)].count(old["poet"]) == 10
    assert service.post("/deploy").json() == {"invalidated": 2}
    for persona, response in old.items():
        assert service.ask("hi", persona)[0] != response


def test_a_user_is_forgotten_and_others_are_not(start: Start) -> None:
    service = start(2)
    ann, bob = service.ask("hi", user="ann")[0], service.ask("hi", user="bob")[0]
    assert service.forget("ann").json() == {"invalidated": 1}
    assert service.ask("hi", user="bob")[0] == bob
    assert service.ask("hi", user="ann")[0] != ann


def test_any_name_can_be_forgotten_and_told_a_prompt(start: Start) -> None:
    service = start()
    for name in ("a/b", "/", "ä:{}%2F?#"):
        service.prompt("new", persona=name)
        assert service.ask("hi", persona=name, user=name)[0].startswith("[new]")
        assert service.forget(name).json() == {"invalidated": 1}, name


def test_metrics_tell_of_the_cache_and_its_server(start: Start) -> None:
    service = start(2)
    service.ask("hi")
    assert service.metric("chatcache_up") == 1
    assert service.metric("chatcache_entries") == 1
    assert service.metric("chatcache_sets_total") == 1
    assert service.metric("redis_used_memory") > 0


def test_what_has_not_happened_yet_is_counted_as_0(start: Start) -> None:
    metrics = start(2).metrics()
    for counter in (
        'responses_total{source="stale"}',
        'degraded_total{reason="down"}',
        "compute_errors_total",
    ):
        assert metrics[f"chat_{counter}"] == 0
