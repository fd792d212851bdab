"""The cache for LiteLLM, with the real library and a stand-in for the upstream."""

import asyncio
import gc
import json
import os
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

# Its list of prices comes with the package; it asks the network for no other one.
os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"
litellm = pytest.importorskip("litellm")
uvicorn = pytest.importorskip("uvicorn")

from litellm.caching.caching import CacheMode

from chatcache.litellm import ChatcacheCache
from chatcache.testing import free_port, until
from tests.servers import ROOT, Script, Server
from tests.test_docs import blocks

# The warnings are about LiteLLM's own types.
pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore:Item:UserWarning")]


class Upstream:
    """An OpenAI-compatible API. Each call says another thing, and the message tells what happens to it."""

    def __init__(self) -> None:
        self.calls = 0
        self.seconds = 0.5
        self.failed: set[str] = set()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            return
        body, more = b"", True
        while more:
            message = await receive()
            body, more = body + message.get("body", b""), message.get("more_body", False)
        request = json.loads(body)
        self.calls += 1
        base = {"id": f"chatcmpl-{self.calls}", "created": 1, "model": "large"}
        if scope["path"].endswith("/embeddings"):
            texts = request["input"] if isinstance(request["input"], list) else [request["input"]]
            data = [
                {"object": "embedding", "index": n, "embedding": [float(len(text)), float(self.calls)]}
                for n, text in enumerate(texts)
            ]
            usage = {"prompt_tokens": 1, "total_tokens": 1}
            return await reply(send, 200, {"object": "list", "data": data, "model": "e", "usage": usage})
        asked = request["messages"][-1]["content"]
        said = f"call {self.calls}"
        if "slow" in asked:
            await asyncio.sleep(self.seconds)
        if "fails once" in asked and asked not in self.failed:
            self.failed.add(asked)
            return await reply(send, 500, {"error": {"message": "out of order"}})
        if "fails always" in asked:
            return await reply(send, 500, {"error": {"message": "out of order"}})
        if not request.get("stream"):
            choice = {
                "index": 0,
                "message": {"role": "assistant", "content": said},
                "finish_reason": "stop",
            }
            usage = {"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3}
            whole = {**base, "object": "chat.completion", "choices": [choice], "usage": usage}
            return await reply(send, 200, whole)
        headers = [(b"content-type", b"text/event-stream")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        for delta, end in [
            *(({"content": word}, None) for word in said.partition(" ")),
            ({}, "stop"),
        ]:
            choice = {"index": 0, "delta": delta, "finish_reason": end}
            await event(send, {**base, "object": "chat.completion.chunk", "choices": [choice]})
        await send({"type": "http.response.body", "body": b"data: [DONE]\n\n"})


async def reply(send: Any, status: int, data: Any) -> None:
    headers = [(b"content-type", b"application/json")]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": json.dumps(data).encode()})


async def event(send: Any, data: Any) -> None:
    line = b"data: " + json.dumps(data).encode() + b"\n\n"
    await send({"type": "http.response.body", "body": line, "more_body": True})


@pytest.fixture(scope="module")
def running() -> Iterator[tuple[Upstream, str]]:
    upstream = Upstream()
    port = free_port()
    http = uvicorn.Server(uvicorn.Config(upstream, port=port, log_level="error"))
    thread = threading.Thread(target=http.run, daemon=True)
    thread.start()
    until("the upstream is up", lambda: http.started)
    yield upstream, f"http://127.0.0.1:{port}/v1"
    http.should_exit = True
    thread.join(30)


@pytest.fixture
def upstream(running: tuple[Upstream, str]) -> Upstream:
    upstream, _ = running
    upstream.calls, upstream.seconds, upstream.failed = 0, 0.5, set()
    return upstream


@pytest.fixture
def install(upstream: Upstream, running: tuple[Upstream, str]) -> Iterator[Callable[..., ChatcacheCache]]:
    """Makes a cache LiteLLM's."""
    caches: list[ChatcacheCache] = []

    def install(url: str, **options: Any) -> ChatcacheCache:
        caches.append(ChatcacheCache(url, **options))
        litellm.cache = caches[-1]
        return caches[-1]

    before = litellm.api_base
    litellm.api_base = running[1]
    yield install
    litellm.cache = None
    litellm.api_base = before
    for cache in caches:
        cache.close()


def about(text: str) -> dict[str, Any]:
    """A call of the model; SDK and library do not try again by themselves."""
    return {
        "model": "openai/large",
        "messages": [{"role": "user", "content": text}],
        "api_key": "none",
        "max_retries": 0,
    }


def ask(text: str, **more: Any) -> str:
    response = litellm.completion(**{**about(text), **more})
    return str(response.choices[0].message.content)


async def aask(text: str, **more: Any) -> str:
    response = await litellm.acompletion(**{**about(text), **more})
    return str(response.choices[0].message.content)


def stream(text: str, **more: Any) -> str:
    pieces = litellm.completion(**{**about(text), **more}, stream=True)
    return "".join(piece.choices[0].delta.content or "" for piece in pieces)


async def astream(text: str, **more: Any) -> str:
    pieces = await litellm.acompletion(**{**about(text), **more}, stream=True)
    return "".join([piece.choices[0].delta.content or "" async for piece in pieces])


def has_no_leases(server: Server) -> Callable[[], bool]:
    return lambda: server.stat("leases") == 0


@pytest.mark.parametrize("protocol", [2, 3])
def test_a_completion_is_computed_once_and_invalidated_with_its_namespace(
    server: Server, install: Callable[..., ChatcacheCache], protocol: int
) -> None:
    cache = install(server.url, namespace="support", connection={"protocol": protocol})
    assert [ask("hi") for _ in range(2)] == ["call 1", "call 1"]
    assert ask("another") == "call 2"
    assert server.run("CHATCACHE.STATS", "support")
    assert cache.invalidate() == 2
    assert ask("hi") == "call 3"
    assert server.run("CHATCACHE.INVALIDATE", "support") == 1
    assert server.stat("leases") == 0


@pytest.mark.parametrize("protocol", [2, 3])
async def test_an_asynchronous_completion_shares_it(
    server: Server, install: Callable[..., ChatcacheCache], protocol: int
) -> None:
    install(server.url, connection={"protocol": protocol})
    assert await aask("hi") == "call 1"
    await asyncio.to_thread(until, "it is stored", lambda: server.stat("entries") == 1)
    assert await aask("hi") == "call 1"
    assert await asyncio.to_thread(ask, "hi") == "call 1"


def test_the_example_of_the_guide_runs(server: Server, install: Callable[..., ChatcacheCache]) -> None:
    [example] = [block for block in blocks(ROOT / "docs/guide/clients.md") if "litellm" in block]
    exec(example.replace("6379", str(server.port)), {})  # noqa: S102  that is the test
    try:
        assert [ask("hi") for _ in range(2)] == ["call 1", "call 1"]
        assert litellm.cache.invalidate("support") == 1
    finally:
        litellm.cache.close()


def test_one_cache_serves_many_event_loops(server: Server, install: Callable[..., ChatcacheCache]) -> None:
    install(server.url)
    for _ in range(3):
        assert asyncio.run(aask("hi")) == "call 1"
        until("it is stored", lambda: server.stat("entries") == 1)


def test_a_stream_is_stored_and_replayed(server: Server, install: Callable[..., ChatcacheCache]) -> None:
    install(server.url)
    assert stream("hi") == "call 1"
    until("it is stored", lambda: server.stat("entries") == 1)
    assert stream("hi") == "call 1"
    assert asyncio.run(astream("hi")) == "call 1"
    assert server.stat("leases") == 0


async def test_an_asynchronous_stream_is_stored_and_replayed(
    server: Server, install: Callable[..., ChatcacheCache]
) -> None:
    install(server.url)
    assert await astream("hi") == "call 1"
    await asyncio.to_thread(until, "it is stored", lambda: server.stat("entries") == 1)
    assert await astream("hi") == "call 1"


def test_the_controls_of_a_call(server: Server, install: Callable[..., ChatcacheCache]) -> None:
    install(server.url, ttl=500)
    assert ask("hi") == "call 1"
    [key] = server.run("KEYS", "*")
    assert key.startswith(b"persona:litellm:")
    assert 450_000 < server.client.pttl(key) <= 500_000
    assert ask("hi", cache={"no-cache": True, "ttl": 100}) == "call 2"
    assert 90_000 < server.client.pttl(key) <= 100_000
    assert ask("hi") == "call 2"
    assert ask("hi", cache={"s-maxage": 100}) == "call 2"
    until("it is older", lambda: ask("hi", cache={"s-maxage": 0.1}) == "call 3")
    assert ask("hi") == "call 3"
    assert ask("new", cache={"no-store": True}) == "call 4"
    assert ask("new", cache={"no-store": True}) == "call 5"
    assert ask("hi", cache={"no-store": True}) == "call 3"
    assert ask("hi", cache={"namespace": "other: {1}"}) == "call 6"
    assert ask("hi", cache={"namespace": "other: {1}"}) == "call 6"
    assert server.run("CHATCACHE.INVALIDATE", "other: {1}") == 1
    assert server.stat("leases") == 0


def test_a_cache_that_is_off_by_default_is_asked_for(
    server: Server, install: Callable[..., ChatcacheCache]
) -> None:
    install(server.url, mode=CacheMode.default_off)
    assert [ask("hi") for _ in range(2)] == ["call 1", "call 2"]
    assert [ask("hi", cache={"use-cache": True}) for _ in range(2)] == ["call 3", "call 3"]


def test_embeddings_are_cached_one_by_one(
    server: Server, install: Callable[..., ChatcacheCache], upstream: Upstream
) -> None:
    install(server.url)

    async def embed(*texts: str) -> list[list[float]]:
        response = await litellm.aembedding("openai/e", input=list(texts), api_key="none", max_retries=0)
        return [one["embedding"] for one in response.data]

    assert asyncio.run(embed("a", "bb")) == [[1, 1], [2, 1]]
    until("they are stored", lambda: server.stat("entries") == 2)
    assert asyncio.run(embed("bb", "a")) == [[2, 1], [1, 1]]
    for _ in range(2):
        response = litellm.embedding("openai/e", input=["a", "dddd"], api_key="none", max_retries=0)
        assert [one["embedding"] for one in response.data] == [[1, 2], [4, 2]]
    assert upstream.calls == 2


# Single flight


def test_a_crowd_of_threads_costs_one_call(
    server: Server, install: Callable[..., ChatcacheCache], upstream: Upstream
) -> None:
    install(server.url)
    with ThreadPoolExecutor(20) as pool:
        assert set(pool.map(lambda _: ask("slow"), range(20))) == {"call 1"}
    assert upstream.calls == 1


async def test_a_crowd_of_tasks_costs_one_call(
    server: Server, install: Callable[..., ChatcacheCache], upstream: Upstream
) -> None:
    install(server.url)
    asked = [aask("slow") if n % 2 else astream("slow") for n in range(100)]
    assert set(await asyncio.gather(*asked)) == {"call 1"}
    assert upstream.calls == 1


PROCESS = """
import sys
import litellm
from chatcache.litellm import ChatcacheCache
litellm.cache = ChatcacheCache(sys.argv[1])
print("ready")
sys.stdin.readline()
about = {"api_base": sys.argv[2], "api_key": "none"}
response = litellm.completion("openai/large", [{"role": "user", "content": "slow"}], **about)
print("said", response.choices[0].message.content)
"""


def test_two_processes_share_one_call(
    server: Server,
    install: Callable[..., ChatcacheCache],
    upstream: Upstream,
    running: tuple[Upstream, str],
    run: Callable[..., Script],
) -> None:
    install(server.url)
    upstream.seconds = 3
    processes = [run(PROCESS, server.url, running[1]) for _ in range(2)]
    for process in processes:
        assert process.line() == "ready"
    for process in processes:
        process.tell("go")
    # LiteLLM prints lines of its own.
    said = [[line for line in process.lines() if line.startswith("said")] for process in processes]
    assert said == [["said call 1"]] * 2
    assert upstream.calls == 1


def test_a_forked_process_has_a_loop_of_its_own(
    server: Server, install: Callable[..., ChatcacheCache], upstream: Upstream
) -> None:
    cache = install(server.url)
    assert ask("hi") == "call 1"
    reading, writing = os.pipe()
    if os.fork() == 0:
        found = cache.cache.get_cache(cache.get_cache_key(**about("hi")))
        os.write(writing, found["response"].encode())
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as child:
        assert "call 1" in child.read()
    os.wait()
    assert ask("hi") == "call 1"
    assert ask("another") == "call 2"


def test_an_invalidated_call_is_not_stored(
    server: Server, install: Callable[..., ChatcacheCache], upstream: Upstream
) -> None:
    install(server.url)
    with ThreadPoolExecutor() as pool:
        first = pool.submit(ask, "slow")
        until("it is asked", lambda: upstream.calls == 1)
        server.run("CHATCACHE.INVALIDATE", "litellm")
        second = pool.submit(ask, "slow")
        assert (first.result(), second.result()) == ("call 1", "call 2")
    assert ask("slow") == "call 2"


@pytest.mark.parametrize("asked", [ask, stream])
def test_a_failure_gives_the_lease_back(
    server: Server, install: Callable[..., ChatcacheCache], upstream: Upstream, asked: Callable[[str], str]
) -> None:
    install(server.url)
    with ThreadPoolExecutor() as pool:
        answers = [pool.submit(asked, "slow, fails once") for _ in range(5)]
        failed = [answer for answer in answers if answer.exception(20)]
        assert len(failed) == 1
        assert {answer.result() for answer in answers if answer not in failed} == {"call 2"}
    assert upstream.calls == 2
    with pytest.raises(litellm.InternalServerError):
        ask("fails always")
    until("no lease is out", has_no_leases(server), 1)


async def test_an_asynchronous_failure_gives_the_lease_back(
    server: Server, install: Callable[..., ChatcacheCache], upstream: Upstream
) -> None:
    install(server.url)
    asked = [aask(text) for text in ["slow, fails once"] * 5]
    answers = await asyncio.wait_for(asyncio.gather(*asked, return_exceptions=True), 20)
    assert [answer for answer in answers if isinstance(answer, str)] == ["call 2"] * 4
    assert upstream.calls == 2


@pytest.mark.parametrize("text", ["fails once", "fails once, slow"])
def test_a_retry_does_not_wait_for_itself(
    server: Server, install: Callable[..., ChatcacheCache], text: str
) -> None:
    install(server.url)
    began_at = time.monotonic()
    assert ask(text, num_retries=2) == "call 2"
    assert asyncio.run(aask(f"{text} again", num_retries=2)) == "call 4"
    assert time.monotonic() - began_at < 15
    until("no lease is out", has_no_leases(server), 5)
    assert ask(text) == "call 2"


def test_a_router_tries_again_and_falls_back(
    server: Server, install: Callable[..., ChatcacheCache], running: tuple[Upstream, str]
) -> None:
    install(server.url)
    one = {"model": "openai/large", "api_base": running[1], "api_key": "none", "max_retries": 0}
    models = [{"model_name": name, "litellm_params": one} for name in ("first", "second")]
    router = litellm.Router(
        models, num_retries=2, cache_responses=True, retry_after=0, disable_cooldowns=True
    )
    messages = about("fails once, by router")["messages"]
    began_at = time.monotonic()
    for _ in range(2):
        response = router.completion("first", messages)
        assert response.choices[0].message.content == "call 2"

    async def by_router() -> str:
        response = await router.acompletion("first", about("fails once, by router, again")["messages"])
        return str(response.choices[0].message.content)

    assert asyncio.run(by_router()) == "call 4"
    assert time.monotonic() - began_at < 15
    until("no lease is out", has_no_leases(server), 5)


@pytest.fixture
def quiet() -> Iterator[None]:
    """A process without garbage collection."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


async def test_a_cancelled_call_gives_the_lease_back(
    server: Server, install: Callable[..., ChatcacheCache], upstream: Upstream, quiet: None
) -> None:
    install(server.url)
    upstream.seconds = 30
    cancelled = asyncio.create_task(aask("slow"))
    await asyncio.to_thread(until, "it is asked", lambda: upstream.calls == 1)
    upstream.seconds = 0
    another = asyncio.create_task(aask("slow"))
    cancelled.cancel()
    del cancelled
    assert await asyncio.wait_for(another, 15) == "call 2"


@pytest.mark.parametrize("read", [0, 1, 2])
def test_a_stream_that_is_not_read_gives_the_lease_back(
    server: Server, install: Callable[..., ChatcacheCache], upstream: Upstream, quiet: None, read: int
) -> None:
    install(server.url)
    pieces = litellm.completion(**about("hi"), stream=True)
    for _ in range(read):
        next(pieces)
    assert server.stat("leases") == 1
    del pieces
    until("no lease is out", has_no_leases(server), 15)
    assert ask("hi") == "call 2"


@pytest.mark.parametrize("read", [0, 1, 2])
async def test_an_asynchronous_stream_that_is_not_read_gives_the_lease_back(
    server: Server, install: Callable[..., ChatcacheCache], upstream: Upstream, quiet: None, read: int
) -> None:
    install(server.url)
    pieces = await litellm.acompletion(**about("hi"), stream=True)
    for _ in range(read):
        await anext(pieces)
    assert server.stat("leases") == 1
    del pieces
    await asyncio.to_thread(until, "no lease is out", has_no_leases(server), 15)
    assert await aask("hi") == "call 2"


def test_a_call_that_takes_longer_than_its_lease_is_not_stored(
    server: Server, install: Callable[..., ChatcacheCache], upstream: Upstream
) -> None:
    install(server.url, lease=0.5)
    upstream.seconds = 1.5
    with ThreadPoolExecutor() as pool:
        late = pool.submit(ask, "slow")
        until("it is asked", lambda: upstream.calls == 1)
        upstream.seconds = 0
        assert ask("slow") == "call 2"
        assert late.result() == "call 1"
    assert ask("slow") == "call 2"


def test_a_value_that_is_no_json_ends_its_flight(
    server: Server, install: Callable[..., ChatcacheCache]
) -> None:
    cache = install(server.url)
    call = {**about("hi"), "litellm_call_id": "1", "litellm_logging_obj": cache}
    assert cache.get_cache(**call) is None
    assert server.stat("leases") == 1
    cache.add_cache({1, 2}, **call)
    until("no lease is out", has_no_leases(server), 5)
    assert server.stat("entries") == 0


def test_without_redis_the_model_responds(
    server: Server, install: Callable[..., ChatcacheCache], upstream: Upstream
) -> None:
    install(server.url)
    assert ask("hi") == "call 1"
    server.stop()
    assert [ask("hi") for _ in range(2)] == ["call 2", "call 3"]
    assert asyncio.run(aask("hi")) == "call 4"
    server.start()
    assert [ask("hi") for _ in range(2)] == ["call 5"] * 2


def test_a_refusal_of_redis_is_logged_once(
    server: Server, install: Callable[..., ChatcacheCache], caplog: pytest.LogCaptureFixture
) -> None:
    server.run("ACL", "SETUSER", "default", "-chatcache.fetch", "-chatcache.set")
    install(server.url)
    assert [ask("hi") for _ in range(2)] == ["call 1", "call 2"]
    assert len([record for record in caplog.records if "Redis refuses" in record.message]) == 1
