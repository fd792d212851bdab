"""The promises of `Cache`, as a user of threads notices them."""

import logging
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import redis

from chatcache import Answer, Cache, Hooks, NotStored
from tests.servers import Script, Server, until

OF_ANN: dict[str, Any] = {"persona": "helper", "user": "ann"}


class Model:
    """Each call says another thing."""

    def __init__(self, seconds: float = 0) -> None:
        self.calls = 0
        self._seconds = seconds
        self._lock = threading.Lock()

    def __call__(self) -> str:
        with self._lock:
            self.calls += 1
            number = self.calls
        time.sleep(self._seconds)
        return f"said {number}"


class Held:
    """Says one thing once it may go on."""

    def __init__(self, said: str) -> None:
        self.begun, self.go_on = threading.Event(), threading.Event()
        self._said = said

    def __call__(self) -> str:
        self.begun.set()
        self.go_on.wait(30)
        return self._said


def ask(cache: Cache, model: Callable[[], str], message: str = "hi", **more: Any) -> Answer[str]:
    return cache.get_or_compute(model, message, **{**OF_ANN, **more})


def crowd(callers: int, ask: Callable[[], Answer[str]], apart: float = 0) -> list[Answer[str]]:
    with ThreadPoolExecutor(callers) as pool:
        futures = []
        for _ in range(callers):
            futures.append(pool.submit(ask))
            time.sleep(apart)
        return [future.result(60) for future in futures]


def test_a_response_is_computed_once_and_found_then(server: Server) -> None:
    with Cache(server.url) as cache:
        model = Model()
        assert ask(cache, model) == Answer("said 1", "computed")
        assert ask(cache, model) == Answer("said 1", "hit")
        assert cache.get("hi", **OF_ANN) == Answer("said 1", "hit")
        assert cache.get("another", **OF_ANN) is None
        assert server.stat("leases") == 0


def test_many_are_read_in_one_pipeline(server: Server) -> None:
    with Cache(server.url) as cache:
        for message in ("a", "c"):
            assert cache.set(message, message.upper(), **OF_ANN)
        answers = cache.get_many(["a", "b", "c"], **OF_ANN)
        assert answers == [Answer("A", "hit"), None, Answer("C", "hit")]
        assert cache.get_many([], **OF_ANN) == []


@pytest.mark.slow
@pytest.mark.parametrize("apart", [0, 0.05])
def test_a_crowd_costs_one_model_call(server: Server, apart: float) -> None:
    with Cache(server.url) as cache:
        model = Model(3)
        answers = crowd(20, lambda: ask(cache, model), apart)
        assert {answer.value for answer in answers} == {"said 1"}
        assert sorted(answer.source for answer in answers) == ["computed"] + ["shared"] * 19
        assert model.calls == 1
        # One FETCH for the process.
        assert server.calls("chatcache.fetch") == 1


CROWD = """
import sys, time
from concurrent.futures import ThreadPoolExecutor
from chatcache import Cache
cache = Cache(sys.argv[1])
def model():
    print("called")
    time.sleep(2)
    return "said"
print("ready")
def ask(_):
    answer = cache.get_or_compute(model, "hi", persona="helper", user="ann")
    return f"{answer.value} {answer.source}"
with ThreadPoolExecutor(10) as pool:
    for line in pool.map(ask, range(10)):
        print(line)
"""


@pytest.mark.slow
def test_three_processes_share_one_model_call(server: Server, run: Callable[..., Script]) -> None:
    processes = [run(CROWD, server.url) for _ in range(3)]
    lines = [line for process in processes for line in process.lines() if line != "ready"]
    assert lines.count("called") == 1
    assert lines.count("said computed") == 1
    assert len([line for line in lines if line in ("said shared", "said hit")]) == 29


HOLDER = """
import sys, time
from chatcache import Cache
def model():
    print("called")
    time.sleep(60)
Cache(sys.argv[1]).get_or_compute(model, "hi", persona="helper", user="ann")
"""


def test_a_holder_that_is_killed_passes_the_lease_on(server: Server, run: Callable[..., Script]) -> None:
    holder = run(HOLDER, server.url)
    assert holder.line() == "called"
    with Cache(server.url) as cache, ThreadPoolExecutor(1) as pool:
        model = Model()
        waiting = pool.submit(ask, cache, model)
        until("it waits", lambda: server.stat("waiters") == 1)
        holder.kill9()
        assert waiting.result(10) == Answer("said 1", "computed")


def test_a_failure_of_the_model_is_raised_and_gives_the_lease_back(server: Server) -> None:
    class Broken(Exception):
        pass

    def broken() -> str:
        raise Broken

    with Cache(server.url) as cache:
        for _ in range(2):
            with pytest.raises(Broken):
                ask(cache, broken)
            assert server.stat("leases") == 0
        assert ask(cache, Model()) == Answer("said 1", "computed")


def test_an_interrupted_leader_lets_another_caller_compute(server: Server) -> None:
    begun, go_on = threading.Event(), threading.Event()

    def interrupted() -> str:
        begun.set()
        go_on.wait(30)
        raise KeyboardInterrupt

    with Cache(server.url) as cache, ThreadPoolExecutor(2) as pool:
        leader = pool.submit(ask, cache, interrupted)
        begun.wait(30)
        follower = pool.submit(ask, cache, Model())
        time.sleep(0.1)
        go_on.set()
        with pytest.raises(KeyboardInterrupt):
            leader.result(30)
        assert follower.result(30) == Answer("said 1", "computed")


def test_a_slow_holder_is_not_waited_for_longer_than_wished(server: Server) -> None:
    server.run("CHATCACHE.FETCH", "response", "ann", "helper", "hi", "DETACHED")
    with Cache(server.url, wait=0.3) as cache:
        model = Model(0.1)
        began_at = time.monotonic()
        assert ask(cache, model) == Answer("said 1", "uncached")
        assert 0.3 < time.monotonic() - began_at < 5
        # It is not stored.
        assert cache.get("hi", **OF_ANN) is None


@pytest.mark.slow
def test_callers_that_a_slow_caller_of_their_process_holds_up_share_a_second_call(server: Server) -> None:
    with Cache(server.url, wait=0.3) as cache, ThreadPoolExecutor(1) as pool:
        slow, model = Model(2), Model(0.3)
        first = pool.submit(ask, cache, slow)
        until("it computes", lambda: slow.calls == 1)
        answers = crowd(10, lambda: ask(cache, model))
        assert not first.done()
        assert {answer.value for answer in answers} == {"said 1"}
        assert [answer.source for answer in answers].count("uncached") == 1
        assert (slow.calls, model.calls) == (1, 1)


@pytest.mark.slow
def test_a_reader_waits_for_a_holder_that_talks_slowly(server: Server) -> None:
    with Cache(server.url, wait=0.2) as cache, Cache(server.url, wait=0.2) as other:
        first = cache.stream(pieces("a", "b", "c", pause=1.3), "slow", **OF_ANN)
        until("it talks", lambda: server.stat("drafts") == 1)
        streams = [first, *(one.stream(pieces(), "slow", **OF_ANN) for one in (cache, other))]
        assert ["".join(stream) for stream in streams] == ["abc"] * 3


@pytest.mark.slow
def test_a_stale_response_is_returned_at_once_and_refreshed(server: Server) -> None:
    with Cache(server.url, ttl=0.05, stale=60) as cache:
        model = Model(1)
        assert ask(cache, model).value == "said 1"
        time.sleep(0.1)
        began_at = time.monotonic()
        assert ask(cache, model) == Answer("said 1", "stale")
        assert ask(cache, model) == Answer("said 1", "stale")
        assert time.monotonic() - began_at < 0.9
        until("it is refreshed", lambda: ask(cache, model).value == "said 2")


def test_a_refresh_replaces_the_response(server: Server) -> None:
    with Cache(server.url) as cache:
        model = Model()
        ask(cache, model)
        assert ask(cache, model, refresh=True) == Answer("said 2", "computed")
        assert ask(cache, model) == Answer("said 2", "hit")


def test_nothing_is_stored_that_should_not_be(server: Server) -> None:
    with Cache(server.url) as cache:
        model = Model()
        assert ask(cache, model, store=False) == Answer("said 1", "uncached")
        assert ask(cache, model, should_store=lambda value: value != "said 2").value == "said 2"
        assert server.stat("leases") == 0
        assert ask(cache, model) == Answer("said 3", "computed")
        assert ask(cache, model, store=False) == Answer("said 3", "hit")


def test_ttl_and_stale_are_the_responses(server: Server) -> None:
    with Cache(server.url) as cache:
        ask(cache, Model(), ttl=100, stale=50)
        entry = cache.inspect("hi", **OF_ANN)
        assert entry and entry["key"] == cache.key("hi", **OF_ANN)
        assert 90_000 < int(entry["fresh-ms"]) <= 100_000
        assert 140_000 < int(entry["ttl-ms"]) <= 150_000
        assert cache.inspect("another", **OF_ANN) is None


def test_a_tier_decides_the_callers_that_share(server: Server) -> None:
    with Cache(server.url, tier="persona") as cache:
        model = Model()
        assert ask(cache, model, user="ann").value == ask(cache, model, user="bob").value
        assert ask(cache, model, persona="poet").value == "said 2"
        answer = ask(cache, model, message="", tier="session", id="m-1")
        assert ask(cache, model, message="other", tier="session", id="m-1").value == answer.value


def test_changes_reply_their_number(server: Server) -> None:
    with Cache(server.url) as cache:
        model = Model()
        ask(cache, model)
        ask(cache, model, user="bob")
        assert cache.invalidate("helper", "poet", soft=True) == 2
        assert ask(cache, model).source == "stale"
        until("it is refreshed", lambda: ask(cache, model).source == "hit")
        assert cache.forget("bob") == 1
        assert cache.invalidate("helper") == 1
        ask(cache, model)
        assert cache.flush("msg") == 0
        assert cache.flush() == 1
        assert cache.stats()["drops"] >= 4
        assert cache.stats("helper")["entries"] == 0
        with pytest.raises(ValueError):
            cache.invalidate()


def test_a_caller_after_a_change_gets_no_response_of_before(server: Server) -> None:
    """Though the old one is being computed, here and in no other process."""
    old = Held("old")
    with Cache(server.url) as cache, ThreadPoolExecutor(2) as pool:
        first = pool.submit(ask, cache, old)
        old.begun.wait(30)
        server.run("CHATCACHE.INVALIDATE", "helper")  # by another client
        second = pool.submit(ask, cache, lambda: "new")
        time.sleep(0.1)
        old.go_on.set()
        assert first.result(30).value == "old"
        assert second.result(30).value == "new"
        assert ask(cache, Model()) == Answer("new", "hit")


def cut_connections(server: Server) -> None:
    server.run("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")


def test_callers_after_an_invalidate_in_a_stream_cost_one_model_call(server: Server) -> None:
    with Cache(server.url) as cache, ThreadPoolExecutor(1) as pool:
        go_on = threading.Event()

        def old() -> Iterator[str]:
            yield "old"
            server.run("CHATCACHE.INVALIDATE", "helper")
            yield " prompt"
            go_on.wait(30)

        first = cache.stream(old, "hi", **OF_ANN)
        reader = pool.submit("".join, first)
        until("the stream is void", lambda: len(first.given) == 2)
        model = Model(0.5)
        answers = crowd(20, lambda: ask(cache, model))
        assert {answer.value for answer in answers} == {"said 1"}
        assert sorted(answer.source for answer in answers) == ["computed"] + ["shared"] * 19
        assert ask(cache, model) == Answer("said 1", "hit")
        go_on.set()
        assert reader.result(30) == "old prompt"


def test_a_flight_whose_fetch_timed_out_is_not_shared_after_an_invalidate(server: Server) -> None:
    old = Held("old")
    with Cache(server.url, timeout=0.3) as cache, ThreadPoolExecutor(1) as pool:
        server.process.send(signal.SIGSTOP)
        first = pool.submit(ask, cache, old)
        old.begun.wait(30)
        server.process.send(signal.SIGCONT)
        server.run("CHATCACHE.INVALIDATE", "helper")
        assert ask(cache, lambda: "new") == Answer("new", "computed")
        old.go_on.set()
        assert first.result(30) == Answer("old", "uncached")


def test_a_flight_whose_connection_was_cut_is_not_shared_after_an_invalidate(server: Server) -> None:
    old = Held("old")
    with Cache(server.url) as cache, ThreadPoolExecutor(2) as pool:
        first = pool.submit(ask, cache, old)
        old.begun.wait(30)
        cut_connections(server)
        server.run("CHATCACHE.INVALIDATE", "helper")
        later = pool.submit(ask, cache, lambda: "new")
        time.sleep(0.1)  # it joins the flight, which does not know yet
        old.go_on.set()
        assert first.result(30) == Answer("old", "computed")
        assert later.result(30) == Answer("new", "computed")
        assert ask(cache, Model()) == Answer("new", "hit")


def test_a_stream_whose_connection_was_cut_is_not_shared_after_an_invalidate(server: Server) -> None:
    joined, go_on = threading.Event(), threading.Event()

    def old() -> Iterator[str]:
        yield "old "
        joined.wait(30)
        yield "prompt "
        go_on.wait(30)
        yield "goes on"

    with Cache(server.url) as cache:
        first = cache.stream(old, "hi", **OF_ANN)
        along = cache.stream(old, "hi", **OF_ANN)
        joined.set()
        readers = [iter(first), iter(along)]
        assert [next(reader) + next(reader) for reader in readers] == ["old prompt "] * 2
        cut_connections(server)
        server.run("CHATCACHE.INVALIDATE", "helper")
        later = cache.stream(pieces("new"), "hi", **OF_ANN)
        go_on.set()
        # Those who came before the change are given the response to its end.
        assert [next(reader) for reader in readers] == ["goes on"] * 2
        assert "".join(later) == "new"
        assert ask(cache, Model()) == Answer("new", "hit")


def test_a_model_that_exits_is_called_once_and_its_exit_is_raised(server: Server) -> None:
    calls = []

    def say() -> Iterator[str]:
        calls.append(1)
        raise SystemExit(1)
        yield ""

    with Cache(server.url) as cache:
        with pytest.raises(SystemExit):
            list(cache.stream(say, "hi", **OF_ANN))
        assert (len(calls), server.stat("leases")) == (1, 0)


def test_a_decorated_function_is_called_once_for_a_request(server: Server) -> None:
    calls: list[tuple[str, str]] = []
    with Cache(server.url) as cache:

        @cache.cached(persona="helper/{model}", user="{user}", message="{question}")
        def respond(user: str, question: str, model: str = "large") -> str:
            """Responds."""
            calls.append((user, question))
            return f"{user}: {question}"

        for _ in range(2):
            assert respond("ann", "hi") == "ann: hi"
            assert respond("bob", question="hi") == "bob: hi"
        assert len(calls) == 2
        assert respond.__doc__ == "Responds."
        assert cache.invalidate("helper/large") == 2

        @cache.cached(persona="math", tier="persona")
        def add(a: int, b: int = 1) -> str:
            calls.append(("add", ""))
            return str(a + b)

        assert [add(1), add(1, 1), add(1, b=1), add(2)] == ["2", "2", "2", "3"]
        assert len(calls) == 4


# Redis is gone, hangs, or refuses.


class Seen(Hooks):
    def __init__(self) -> None:
        self.failures: list[str] = []

    def failed(self, operation: str, error: BaseException) -> None:
        self.failures.append(operation)


def test_without_redis_the_model_responds_and_it_is_logged_once(
    server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    seen = Seen()
    with Cache(server.url, hooks=seen) as cache, caplog.at_level(logging.WARNING, "chatcache"):
        model = Model()
        ask(cache, model)
        server.stop()
        for number in (2, 3):
            assert ask(cache, model) == Answer(f"said {number}", "uncached")
        assert cache.get("hi", **OF_ANN) is None
        assert cache.set("hi", "x", **OF_ANN) is False
        assert (cache.failures, seen.failures) == (4, ["fetch", "fetch", "get", "set"])
        assert len(caplog.records) == 1
        for change in (lambda: cache.invalidate("helper"), lambda: cache.forget("ann"), cache.flush):
            with pytest.raises(redis.ConnectionError):
                change()
        server.start()
        assert ask(cache, model).source == "computed"
        assert ask(cache, model).source == "hit"
        assert [record.message for record in caplog.records][1:] == ["chatcache: Redis answers again"]


@pytest.mark.parametrize("apart", [0, 0.02])
def test_without_redis_a_crowd_costs_one_model_call(server: Server, apart: float) -> None:
    server.stop()
    with Cache(server.url) as cache:
        model = Model(1)
        assert {answer.value for answer in crowd(20, lambda: ask(cache, model), apart)} == {"said 1"}
        assert model.calls == 1


def test_a_server_that_dies_meanwhile_costs_one_more_model_call(server: Server) -> None:
    """The response under way may have been invalidated before the server died."""
    old = Held("old")
    with Cache(server.url) as cache, ThreadPoolExecutor(11) as pool:
        first = pool.submit(ask, cache, old)
        old.begun.wait(30)
        server.run("CHATCACHE.INVALIDATE", "helper")
        model = Model(0.5)
        others = [pool.submit(ask, cache, model) for _ in range(10)]
        time.sleep(0.2)
        server.stop()
        old.go_on.set()
        assert first.result(10) == Answer("old", "computed")
        assert {other.result(10).value for other in others} == {"said 1"}


def test_a_server_that_dies_meanwhile_costs_nobody_the_response(server: Server) -> None:
    with Cache(server.url) as cache, ThreadPoolExecutor(1) as pool:
        model = Model(0.5)
        answer = pool.submit(ask, cache, model)
        until("it computes", lambda: model.calls == 1)
        server.stop()
        assert answer.result(10) == Answer("said 1", "computed")


@pytest.mark.slow
def test_a_server_that_hangs_holds_nobody_up(server: Server) -> None:
    with Cache(server.url, timeout=0.3) as cache:
        ask(cache, Model())
        server.process.send(signal.SIGSTOP)
        began_at = time.monotonic()
        assert ask(cache, lambda: "model") == Answer("model", "uncached")
        assert time.monotonic() - began_at < 5
        server.process.send(signal.SIGCONT)
        until("it is found again", lambda: ask(cache, Model()).source == "hit")


def test_a_refused_command_is_raised(server: Server) -> None:
    with Cache(server.url) as cache:
        model = Model()
        server.run("ACL", "SETUSER", "default", "-chatcache.fetch", "-chatcache.get")
        with pytest.raises(redis.ResponseError):
            ask(cache, model)
        with pytest.raises(redis.ResponseError):
            cache.get("hi", **OF_ANN)
        assert (model.calls, cache.failures) == (0, 0)
        with pytest.raises(redis.ResponseError, match="unknown tier"):
            cache.set("hi", "x", **OF_ANN, tier="any")  # type: ignore[arg-type]


def test_a_wrong_password_is_raised(server: Server) -> None:
    server.run("ACL", "SETUSER", "service", "on", ">secret", "+@all", "~*")
    with Cache(server.url.replace("//", "//service:wrong@")) as cache, pytest.raises(redis.RedisError):
        ask(cache, Model())


@pytest.mark.module("max-response-bytes", "1kb")
def test_a_lease_that_redis_does_not_take_back_ends_with_its_connection(server: Server) -> None:
    server.run("ACL", "SETUSER", "default", "-chatcache.release")
    with Cache(server.url) as cache:
        with pytest.raises(NotStored):
            ask(cache, lambda: "x" * 2_000)
        until("the lease has ended", lambda: server.stat("leases") == 0, seconds=5)
        assert ask(cache, Model()) == Answer("said 1", "computed")


def test_a_lease_that_is_shorter_than_the_model_is_logged_once(
    server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    with Cache(server.url, lease=0.1) as cache, caplog.at_level(logging.WARNING, "chatcache"):
        for message in ("hi", "bye"):
            assert ask(cache, Model(0.5), message).value == "said 1"
        assert ["the lease of 0.1 s ended" in record.message for record in caplog.records] == [True]


@pytest.mark.parametrize("option", ["?socket_timeout=0.3", {"socket_timeout": 0.3}])
def test_a_time_out_of_the_connection_does_not_end_a_wait(server: Server, option: Any) -> None:
    url, connection = (server.url + option, None) if isinstance(option, str) else (server.url, option)
    with (
        Cache(server.url) as cache,
        Cache(url, connection=connection) as other,
        ThreadPoolExecutor(1) as pool,
    ):
        model = Model(1)
        first = pool.submit(ask, cache, model)
        until("it computes", lambda: model.calls == 1)
        assert ask(other, model) == Answer("said 1", "shared")
        assert first.result(30).source == "computed"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_child_does_not_wait_for_a_flight_of_its_parent(server: Server) -> None:
    slow = Held("parent's")
    with Cache(server.url) as cache, ThreadPoolExecutor(1) as pool:
        first = pool.submit(ask, cache, slow)
        slow.begun.wait(30)
        child = os.fork()
        if child == 0:
            signal.alarm(20)
            os._exit(ask(cache, lambda: "child's") != Answer("parent's", "shared"))
        try:
            until("the child waits", lambda: server.stat("waiters") == 1, seconds=10)
        finally:
            slow.go_on.set()
            status = os.waitpid(child, 0)[1]
        assert status == 0
        assert first.result(30) == Answer("parent's", "computed")


def test_a_compute_that_asks_its_own_question_is_told(server: Server) -> None:
    with Cache(server.url) as cache:

        def ask_again() -> str:
            return ask(cache, Model()).value

        with pytest.raises(RuntimeError, match="compute asks the question"):
            ask(cache, ask_again)
        assert server.stat("leases") == 0
        assert ask(cache, lambda: ask(cache, Model(), "another").value) == Answer("said 1", "computed")


@pytest.mark.module("max-response-bytes", "1kb")
def test_a_response_that_redis_refuses_is_raised_with_its_value(server: Server) -> None:
    with Cache(server.url) as cache:
        with pytest.raises(NotStored) as refused:
            ask(cache, lambda: "x" * 2_000)
        assert refused.value.value == "x" * 2_000
        assert server.stat("leases") == 0


# Streams


def pieces(*texts: str, pause: float = 0) -> Callable[[], Iterator[str]]:
    def say() -> Iterator[str]:
        for text in texts:
            yield text
            time.sleep(pause)

    return say


def test_a_stream_gives_the_pieces_and_stores_the_whole(server: Server) -> None:
    with Cache(server.url) as cache:
        stream = cache.stream(pieces("Nodes ", "", "with children."), "tree", **OF_ANN)
        assert stream.source == "computed"
        assert list(stream) == ["Nodes ", "with children."]
        again = cache.stream(pieces(), "tree", **OF_ANN)
        assert (again.source, list(again)) == ("hit", ["Nodes with children."])
        assert server.stat("drafts") == 0


def test_a_stream_needs_no_thread(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    def start(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with Cache(server.url) as cache:
        with monkeypatch.context() as patched:
            patched.setattr(threading.Thread, "start", start)
            assert list(cache.stream(pieces("a", "b"), "tree", **OF_ANN)) == ["a", "b"]
        assert list(cache.stream(pieces(), "tree", **OF_ANN)) == ["ab"]


def test_a_crowd_reads_along_in_threads(server: Server) -> None:
    with Cache(server.url) as cache:
        calls = []

        def say() -> Iterator[str]:
            calls.append(1)
            yield from pieces(*"abcdefgh", pause=0.1)()

        def read() -> Answer[str]:
            stream = cache.stream(say, "alphabet", **OF_ANN)
            return Answer("".join(stream), stream.source)

        answers = crowd(20, read, 0.02)
        assert {answer.value for answer in answers} == {"abcdefgh"}
        assert len(calls) == 1
        assert [answer.source for answer in answers].count("computed") == 1
