"""The gateway, with the real SDK and a stand-in for the upstream."""

import asyncio
import gzip
import json
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

openai = pytest.importorskip("openai")
uvicorn = pytest.importorskip("uvicorn")
httpx = pytest.importorskip("httpx")

from chatcache.calls import cache_control
from chatcache.chunks import events, put_together
from chatcache.openai import Gateway
from chatcache.testing import Process, free_port, until
from tests.servers import ROOT, Server

pytestmark = pytest.mark.slow

TOOL = {"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}

USAGE = {"prompt_tokens": 3, "completion_tokens": 4, "total_tokens": 7}

FILTERED = {"content_filter_results": {"hate": {"filtered": False, "severity": "safe"}}}


class Upstream:
    """Streams as the API does; the message says what goes wrong."""

    def __init__(self) -> None:
        self.calls = 0
        self.seen: list[dict[str, Any]] = []
        self.paths: list[str] = []
        self.headers: list[tuple[bytes, bytes]] = []

    async def __call__(self, scope: Any, receive: Any, send: Any) -> Any:
        if scope["type"] != "http":
            return
        query = scope["query_string"].decode()
        self.paths.append(scope["raw_path"].decode() + (f"?{query}" if query else ""))
        self.headers = scope["headers"]
        body, more = b"", True
        while more:
            message = await receive()
            body, more = body + message.get("body", b""), message.get("more_body", False)

        async def start(status: int, kind: bytes) -> None:
            headers = [
                (b"content-type", kind),
                (b"retry-after", b"7"),
                (b"x-request-id", b"r-%d" % self.calls),
                (b"set-cookie", b"a=1"),
                (b"set-cookie", b"b=2"),
            ]
            await send({"type": "http.response.start", "status": status, "headers": headers})

        async def reply(status: int, data: Any) -> None:
            await start(status, b"application/json")
            await send({"type": "http.response.body", "body": json.dumps(data).encode()})

        if scope["path"] == "/v1/zipped":
            headers = [
                (b"content-encoding", b"gzip"),
                (b"x-asked", dict(scope["headers"])[b"accept-encoding"]),
            ]
            await send({"type": "http.response.start", "status": 200, "headers": headers})
            return await send({"type": "http.response.body", "body": gzip.compress(b"zipped")})
        if scope["path"] == "/v1/models":
            return await reply(200, {"object": "list", "data": [{"id": "large", "object": "model"}]})
        self.calls += 1
        request = json.loads(body)
        self.seen.append(request)
        said = request["messages"][-1]["content"]
        if "limit" in said:
            return await reply(429, {"error": {"message": "too many", "type": "rate_limit"}})
        if not request.get("stream") or "JSON" in said:
            message = {"role": "assistant", "content": f"Call {self.calls}, whole"}
            if request.get("tools"):
                function = {"name": "weather", "arguments": "{}"}
                message["tool_calls"] = [{"id": "t1", "type": "function", "function": function}]
            choice = {"index": 0, "message": message, "finish_reason": "stop"}
            base = {"id": "w", "object": "chat.completion", "created": 1, "model": "large"}
            return await reply(200, {**base, "choices": [choice], "usage": USAGE})
        await start(200, b"text/event-stream")

        async def event(data: str, more: bool = True) -> None:
            piece = f"data: {data}\n\n".encode()
            await send({"type": "http.response.body", "body": piece, "more_body": more})

        base = {"id": f"c-{self.calls}", "object": "chat.completion.chunk", "created": 1, "model": "large"}

        async def chunk(delta: dict[str, Any], end: str | None = None, index: int = 0) -> None:
            choice = {"index": index, "delta": delta, "finish_reason": end, **FILTERED}
            await event(json.dumps({**base, "choices": [choice], "usage": None}, ensure_ascii=False))

        if "thinks" in said:
            await asyncio.sleep(1.5)
        if request.get("tools"):
            call = {
                "index": 0,
                "id": "t1",
                "type": "function",
                "function": {"name": "weather", "arguments": ""},
            }
            await chunk({"role": "assistant", "content": None, "tool_calls": [call]})
            for part in ('{"city":', ' "Rome"}'):
                await chunk({"tool_calls": [{"index": 0, "function": {"arguments": part}}]})
            await chunk({}, "tool_calls")
        else:
            await chunk({"role": "assistant", "content": ""})
            for word in (
                *("\u2028 \x85 \x1c " if "lines" in said else ""),
                "Call ",
                f"{self.calls}: ",
                "grüß ",
                "dich",
            ):
                await asyncio.sleep(0.3 if "slow" in said else 0)
                await chunk({"content": word})
                if "breaks" in said:
                    return await event("{}", more=False)
                if "errs" in said:
                    return await event(json.dumps({"error": {"message": "out of order"}}), more=False)
            await chunk({}, "stop")
        await event(json.dumps({**base, "choices": [], "usage": USAGE}))
        if "no end" in said:
            return await send({"type": "http.response.body"})
        await event("[DONE]", more=False)


def serve(app: Any) -> tuple[str, Callable[[], None]]:
    port = free_port()
    server = uvicorn.Server(uvicorn.Config(app, port=port, log_level="error"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    until("the server is up", lambda: server.started)

    def stop() -> None:
        server.should_exit = True
        thread.join(30)

    return f"http://127.0.0.1:{port}/v1", stop


@pytest.fixture
def upstream() -> Iterator[tuple[Upstream, str]]:
    app = Upstream()
    url, stop = serve(app)
    yield app, url
    stop()


class Api:
    """The real SDK at the gateway."""

    def __init__(self, url: str) -> None:
        self.client = openai.OpenAI(base_url=url, api_key="key", max_retries=0)

    def ask(self, message: str, headers: dict[str, str] | None = None, **more: Any) -> tuple[Any, Any]:
        """Returns the completion and the headers."""
        messages = [{"role": "system", "content": "You help."}, {"role": "user", "content": message}]
        reply = self.client.chat.completions.with_raw_response.create(
            model="large", messages=messages, extra_headers=headers or {}, **more
        )
        return reply.parse(), reply.headers

    def stream(self, message: str, **more: Any) -> tuple[str, list[Any], Any]:
        """Returns the text, the chunks and the headers."""
        stream, headers = self.ask(message, stream=True, **more)
        chunks = list(stream)
        text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
        return text, chunks, headers


@pytest.fixture
def api(server: Server, upstream: tuple[Upstream, str]) -> Iterator[Api]:
    url, stop = serve(Gateway(upstream[1], server.url))
    yield Api(url)
    stop()


def body(message: str, **more: Any) -> bytes:
    return json.dumps({"model": "large", "messages": [{"role": "user", "content": message}], **more}).encode()


def post(api: Api, content: bytes, *headers: tuple[bytes, bytes], path: str = "/chat/completions") -> Any:
    url = str(api.client.base_url).rstrip("/") + path
    return httpx.post(url, content=content, headers=list(headers), timeout=60)


def text(completion: Any) -> str:
    return str(completion.choices[0].message.content)


def test_a_completion_is_asked_for_once(api: Api, upstream: tuple[Upstream, str], server: Server) -> None:
    first, headers = api.ask("hi")
    assert text(first) == "Call 1: grüß dich"
    assert (first.choices[0].finish_reason, first.usage.total_tokens, first.object) == (
        "stop",
        7,
        "chat.completion",
    )
    assert headers["x-cache"] == "MISS"
    again, headers = api.ask("hi", user="bob", metadata={"a": "b"})
    assert again.model_dump() == first.model_dump()
    assert (headers["x-cache"], headers["age"]) == ("HIT", "0")
    assert server.client.exists(headers["x-cache-key"]) == 1
    assert text(api.ask("hi", temperature=0.5)[0]) != text(api.ask("hi", seed=1)[0]) != text(first)
    assert upstream[0].calls == 3


def test_a_stored_response_is_streamed_with_its_usage(api: Api, upstream: tuple[Upstream, str]) -> None:
    whole, chunks, headers = api.stream("hi")
    assert (whole, headers["x-cache"]) == ("Call 1: grüß dich", "MISS")
    assert all(chunk.usage is None and chunk.choices for chunk in chunks)
    whole, chunks, headers = api.stream("hi", stream_options={"include_usage": True})
    assert (whole, headers["x-cache"]) == ("Call 1: grüß dich", "HIT")
    assert chunks[-1].usage.total_tokens == 7
    assert text(api.ask("hi")[0]) == whole
    assert upstream[0].calls == 1


def test_thirty_callers_half_of_them_streaming_cost_one_call(
    api: Api, upstream: tuple[Upstream, str]
) -> None:
    seen: list[tuple[str, str]] = []

    def call(number: int) -> None:
        if number % 2:
            whole, _, headers = api.stream("slow")
        else:
            completion, headers = api.ask("slow")
            whole = text(completion)
        seen.append((whole, headers["x-cache"]))

    callers = [threading.Thread(target=call, args=[number]) for number in range(30)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join(30)
    assert {whole for whole, _ in seen} == {"Call 1: grüß dich"}
    assert len(seen) == 30
    assert [source for _, source in seen].count("MISS") == 1
    assert {source for _, source in seen} <= {"MISS", "SHARED", "HIT"}
    assert upstream[0].calls == 1


def test_pieces_are_passed_on_as_they_come(api: Api) -> None:
    began_at = time.monotonic()
    stream, _ = api.ask("slow", stream=True)
    times = [
        time.monotonic() - began_at for chunk in stream if chunk.choices and chunk.choices[0].delta.content
    ]
    assert times[-1] - times[0] > 0.5


def test_tools_are_put_together(api: Api) -> None:
    for source in ("MISS", "HIT"):
        completion, headers = api.ask("hi", tools=[TOOL])
        [call] = completion.choices[0].message.tool_calls
        assert (call.id, call.function.name, json.loads(call.function.arguments)) == (
            "t1",
            "weather",
            {"city": "Rome"},
        )
        assert (completion.choices[0].finish_reason, headers["x-cache"]) == ("tool_calls", source)
    _, chunks, _ = api.stream("hi", tools=[TOOL])
    assert [bool(chunk.choices[0].delta.tool_calls) for chunk in chunks] == [True, True, True, False]


def test_an_error_of_the_upstream_is_passed_on_and_never_stored(
    api: Api, upstream: tuple[Upstream, str]
) -> None:
    for calls, stream in ((1, False), (2, True)):
        with pytest.raises(openai.RateLimitError, match="too many") as error:
            api.ask("limit", stream=stream)
        assert error.value.response.headers["retry-after"] == "7"
        assert upstream[0].calls == calls
    with pytest.raises(openai.APIError):
        api.stream("breaks")
    with pytest.raises(openai.InternalServerError, match="broke off|has no end"):
        api.ask("breaks")
    assert upstream[0].calls == 4


def test_an_error_in_a_stream_keeps_its_message(api: Api) -> None:
    with pytest.raises(openai.APIError, match="out of order"):
        api.stream("errs")
    with pytest.raises(openai.InternalServerError, match="out of order"):
        api.ask("errs")


def test_only_line_ends_end_a_line_of_a_stream(api: Api) -> None:
    whole = "\u2028 \x85 \x1c Call 1: grüß dich"
    assert api.stream("lines")[0] == whole
    assert text(api.ask("lines")[0]) == whole


@pytest.mark.parametrize("message", ["JSON", "JSON, streamed", "no end", "no end, streamed"])
def test_an_upstream_may_reply_json_and_leave_out_the_end(api: Api, message: str) -> None:
    said = "Call 1, whole" if "JSON" in message else "Call 1: grüß dich"
    for source in ("MISS", "HIT"):
        if "streamed" in message:
            whole, chunks, headers = api.stream(message)
            assert chunks[-1].choices[0].finish_reason == "stop"
        else:
            completion, headers = api.ask(message)
            whole = text(completion)
            assert completion.usage.total_tokens == 7
        assert (whole, headers["x-cache"]) == (said, source)


def test_tools_of_a_reply_in_json_are_streamed(api: Api) -> None:
    _, chunks, _ = api.stream("JSON", tools=[TOOL])
    [call] = chunks[0].choices[0].delta.tool_calls
    assert (call.index, call.id, call.function.name) == (0, "t1", "weather")
    completion, _ = api.ask("JSON", tools=[TOOL])
    assert [call.id for call in completion.choices[0].message.tool_calls] == ["t1"]


def test_the_upstream_may_be_silent_for_the_time_out(server: Server, upstream: tuple[Upstream, str]) -> None:
    for timeout, status in ((0.5, 504), (10, 200)):
        url, stop = serve(Gateway(upstream[1], server.url, timeout=timeout))
        try:
            assert post(Api(url), body("thinks")).status_code == status
            assert server.stat("leases") == 0
        finally:
            stop()


def test_a_long_message_is_cached(api: Api) -> None:
    for source in ("MISS", "HIT"):
        reply = post(api, body("ä" * 3_000_000))
        assert (reply.status_code, reply.headers["x-cache"]) == (200, source)


@pytest.mark.parametrize("message", ["\ud83d", "a \udfff b"])
def test_half_a_character_is_passed_on(api: Api, upstream: tuple[Upstream, str], message: str) -> None:
    for source in ("MISS", "HIT"):
        reply = post(api, body(message, user=message))
        assert (reply.status_code, reply.headers["x-cache"]) == (200, source)
    assert upstream[0].seen[-1]["messages"][0]["content"] == message


@pytest.mark.parametrize(
    "more",
    [
        {"temperature": float("nan")},
        {"temperature": float("inf")},
        {"stream_options": 5},
        {"stream": "maybe"},
        {"user": {"a": 1}},
    ],
    ids=str,
)
def test_the_upstream_judges_a_malformed_request(
    api: Api, upstream: tuple[Upstream, str], more: dict[str, Any]
) -> None:
    assert post(api, body("limit", **more)).status_code == 429
    assert post(api, body("limit", **more).replace(b"Infinity", b"1e999")).status_code == 429
    assert repr(upstream[0].seen[-1]) == repr(json.loads(body("limit", **more)))


def test_headers_are_passed_on_as_they_are(api: Api, upstream: tuple[Upstream, str]) -> None:
    for path in ("/chat/completions", "/models"):
        post(api, body("hi"), (b"x-name", "grüß".encode()), (b"x-many", b"1"), (b"x-many", b"2"), path=path)
        assert (b"x-name", "grüß".encode()) in upstream[0].headers
        assert [value for name, value in upstream[0].headers if name == b"x-many"] == [b"1", b"2"]


def test_headers_of_a_new_response_are_the_upstreams(api: Api) -> None:
    for ask in (api.ask, lambda message: api.stream(message)[1:]):
        message = str(ask)
        _, headers = ask(message)
        assert headers["x-request-id"].startswith("r-")
        _, headers = ask(message)
        assert (headers["x-cache"], headers.get("x-request-id")) == ("HIT", None)


def test_cookies_of_one_client_are_not_for_another(api: Api, upstream: tuple[Upstream, str]) -> None:
    headers = httpx.get(f"{api.client.base_url}models").headers
    assert headers.get_list("set-cookie") == ["a=1", "b=2"]
    assert "set-cookie" not in api.ask("hi")[1]
    assert b"cookie" not in [name for name, _ in upstream[0].headers]


def test_a_users_name_makes_no_header(server: Server, upstream: tuple[Upstream, str]) -> None:
    url, stop = serve(Gateway(upstream[1], server.url, tier="response"))
    try:
        for source in ("MISS", "HIT"):
            reply = post(Api(url), body("hi", user="ann\r\nx-evil: 1"))
            assert (reply.status_code, reply.headers["x-cache"]) == (200, source)
            assert "x-evil" not in reply.headers
            assert reply.headers["x-cache-key"].startswith("response:ann%0D%0Ax-evil%3A 1:")
    finally:
        stop()


def test_results_of_content_filters_are_kept(api: Api) -> None:
    completion, _ = api.ask("hi")
    assert completion.choices[0].model_dump()["content_filter_results"] == FILTERED["content_filter_results"]


def test_cache_control_is_obeyed(api: Api, upstream: tuple[Upstream, str]) -> None:
    api.ask("hi")
    assert text(api.ask("hi", {"cache-control": "no-cache"})[0]).startswith("Call 2")
    assert api.ask("hi", {"cache-control": "max-age=60"})[1]["x-cache"] == "HIT"
    assert text(api.ask("hi", {"cache-control": "max-age=0"})[0]).startswith("Call 3")
    assert text(api.ask("hi", {"cache-control": "no-store"})[0]).endswith("whole")
    assert text(api.ask("hi")[0]).startswith("Call 3")
    assert text(api.ask("new", {"cache-control": "no-store"})[0]).endswith("whole")
    assert api.ask("new")[1]["x-cache"] == "MISS"


def test_a_persona_is_named_by_its_prompt_or_a_header(api: Api, server: Server) -> None:
    api.ask("hi", {"x-cache-persona": "helper"})
    assert server.run("CHATCACHE.INVALIDATE", "helper") == 1
    _, headers = api.ask("hi")
    assert headers["x-cache-key"].startswith("persona:openai/")
    persona = headers["x-cache-key"].split(":")[1]
    assert server.run("CHATCACHE.INVALIDATE", persona) == 1
    assert api.ask("hi")[1]["x-cache"] == "MISS"


def test_another_key_gets_no_response_of_this_one(api: Api, upstream: tuple[Upstream, str]) -> None:
    api.ask("hi")
    other = Api(str(api.client.base_url))
    other.client.api_key = "another"
    assert other.ask("hi")[1]["x-cache"] == "MISS"


HEADERS = [
    *(
        "api-key",
        "x-api-key",
        "x-goog-api-key",
        "openai-organization",
        "openai-project",
        "cookie",
        "x-tenant",
    ),
    "x-forwarded-user",
]


@pytest.mark.parametrize("header", HEADERS)
def test_a_response_is_for_requests_with_equal_headers(api: Api, header: str) -> None:
    asked = [api.ask("hi", {header: value})[1]["x-cache"] for value in ("one", "one", "two")]
    assert asked == ["MISS", "HIT", "MISS"]
    assert api.ask("hi")[1]["x-cache"] == "MISS"


def test_headers_that_change_with_each_call_are_known_or_named(
    server: Server, upstream: tuple[Upstream, str]
) -> None:
    url, stop = serve(Gateway(upstream[1], server.url, ignored_headers=["X-Trace-*"]))
    try:
        api = Api(url)
        asked = [
            api.ask("hi", {"x-request-id": f"r{n}", "traceparent": f"t{n}", "x-trace-me": f"{n}"})[1]
            for n in range(2)
        ]
        assert [headers["x-cache"] for headers in asked] == ["MISS", "HIT"]
    finally:
        stop()


def test_a_wrong_key_of_azure_gets_no_response(server: Server, upstream: tuple[Upstream, str]) -> None:
    url, stop = serve(Gateway(upstream[1].removesuffix("/v1"), server.url))
    try:
        for key, source in (("right", "MISS"), ("right", "HIT"), ("wrong", "MISS")):
            client = openai.AzureOpenAI(
                azure_endpoint=url.removesuffix("/v1"), api_key=key, api_version="2024-10-21", max_retries=0
            )
            reply = client.chat.completions.with_raw_response.create(
                model="small", messages=[{"role": "user", "content": "hi"}]
            )
            assert reply.headers["x-cache"] == source
    finally:
        stop()
    path = "/openai/deployments/small/chat/completions?api-version=2024-10-21"
    assert upstream[0].paths == [path] * 2


def test_path_and_query_are_passed_on_and_keep_responses_apart(
    api: Api, upstream: tuple[Upstream, str]
) -> None:
    paths = [f"/a%2F{name}/chat/completions?version={number}" for name in "bc" for number in range(2)]
    for source in ("MISS", "HIT"):
        for path in paths:
            reply = post(api, body("hi"), path=path)
            assert reply.headers["x-cache"] == source
    assert upstream[0].paths == [f"/v1{path}" for path in paths]


def test_all_other_requests_go_to_the_upstream(api: Api, upstream: tuple[Upstream, str]) -> None:
    assert [model.id for model in api.client.models.list()] == ["large"]
    assert upstream[0].paths == ["/v1/models"]


def test_the_encoding_of_a_reply_is_passed_on(api: Api) -> None:
    with httpx.stream("GET", f"{api.client.base_url}zipped", headers={"accept-encoding": "gzip"}) as reply:
        assert (reply.headers["content-encoding"], reply.headers["x-asked"]) == ("gzip", "gzip")
        assert gzip.decompress(b"".join(reply.iter_raw())) == b"zipped"


def test_without_redis_the_upstream_responds(api: Api, server: Server) -> None:
    server.stop()
    completion, headers = api.ask("hi")
    assert (text(completion), headers["x-cache"]) == ("Call 1: grüß dich", "MISS")
    assert api.stream("hi")[0] == "Call 2: grüß dich"


def test_the_command_starts_a_gateway(server: Server, upstream: tuple[Upstream, str], tmp_path: Path) -> None:
    port = free_port()
    command = [sys.executable, "-m", "chatcache.openai", "--upstream", upstream[1], "--redis", server.url]
    command += ["--port", str(port), "--timeout", "20", "--ignore-header", "x-me"]
    gateway = Process(command, tmp_path, PYTHONPATH=str(ROOT / "clients/python/src"))
    try:
        api = Api(f"http://127.0.0.1:{port}/v1")
        until("it is up", lambda: list(api.client.models.list()), 30, openai.APIConnectionError)
        asked = [api.ask("hi", {"x-me": str(number)})[1] for number in range(2)]
        assert [headers["x-cache"] for headers in asked] == ["MISS", "HIT"]
    finally:
        gateway.stop()


def test_choices_are_put_together_one_by_one() -> None:
    def chunk(index: int, content: str) -> dict[str, Any]:
        logprobs = {"content": [{"token": content}]}
        return {"choices": [{"index": index, "delta": {"content": content}, "logprobs": logprobs}]}

    whole = put_together([chunk(1, "c"), chunk(0, "a"), chunk(1, "d"), chunk(0, "b")])
    assert [choice["message"]["content"] for choice in whole["choices"]] == ["ab", "cd"]
    assert whole["choices"][0]["logprobs"] == {"content": [{"token": "a"}, {"token": "b"}]}
    assert cache_control(b"max-age=" + b"9" * 5000)["max-age"] is not None
    assert cache_control(b"max-age=3, no-cache") == {"max-age": 3, "no-cache": None}


def data_of(*pieces: bytes) -> list[bytes]:
    async def read() -> list[bytes]:
        async def stream() -> AsyncIterator[bytes]:
            for piece in pieces:
                yield piece

        return [data.strip() async for data in events(stream())]

    return asyncio.run(read())


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r"])
def test_an_event_stream_is_read_in_any_pieces(end: bytes) -> None:
    whole = end.join(
        [b": comment", b"event: x", b"data: [1,", b"data:2]", b"", b"", b"data: {}", b"", b"data: [DONE]"]
    )
    wanted = [b"[1,\n2]", b"{}", b"[DONE]"]
    for size in (1, 2, 3, 7, len(whole)):
        pieces = [whole[start : start + size] for start in range(0, len(whole), size)]
        assert [data.replace(b"\n ", b"\n") for data in data_of(*pieces)] == wanted
