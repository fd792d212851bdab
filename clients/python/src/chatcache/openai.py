"""A gateway for OpenAI-compatible clients: `base_url` in the SDK is all that changes. Needs the extra `openai`.

    chatcache-gateway --upstream https://host/v1 --redis redis://127.0.0.1:6379 --port 8080

`POST /v1/chat/completions` is cached, streamed or not, with tools or without; every other request goes to the upstream as
it is, and so does one with `Cache-Control: no-store`. `no-cache` asks for a new response, `max-age` for one that is younger. The upstream is always asked for a stream: what is stored is its chunks, a line each. So callers who stream read
along, all others get the chunks put together, and one call of the upstream serves both.

A response is shared by requests that are equal in all that decides it (`canonical`), and that have the same Authorization:
the gateway cannot tell if another key is valid. Errors of the upstream are passed on and never stored, and so is a stream
that breaks off.
"""

import argparse
import hashlib
import json
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import aclosing
from typing import Any

import httpx
from redis.exceptions import RedisError

from chatcache.aio import AsyncCache, AsyncStream
from chatcache.codecs import BYTES
from chatcache.errors import NotStored, StreamLost
from chatcache.hooks import Source
from chatcache.request import Tier, canonical

Message = dict[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Headers = list[tuple[bytes, bytes]]

X_CACHE: dict[Source, bytes] = {
    "local": b"HIT",
    "hit": b"HIT",
    "stale": b"STALE",
    "shared": b"SHARED",
    "computed": b"MISS",
    "uncached": b"MISS",
}

# Headers of one connection, or of a body that is sent anew.
NOT_PASSED_ON = frozenset(
    {
        "cache-control",
        "connection",
        "content-encoding",
        "content-length",
        "host",
        "keep-alive",
        "te",
        "trailer",
    }
    | {"accept-encoding", "proxy-authenticate", "proxy-authorization", "transfer-encoding", "upgrade"}
)

# Of a request, in bytes.
MAX_BODY = 64 << 20

# Roles of messages that make the persona.
SYSTEM = ("system", "developer")


class UpstreamError(Exception):
    """The upstream gave no response: its reply is passed on as it is."""

    def __init__(self, status: int, body: bytes, headers: Headers) -> None:
        super().__init__(f"the upstream replied {status}")
        self.status, self.body, self.headers = status, body, headers


JSON_BODY: Headers = [(b"content-type", b"application/json")]


def failure(message: str, status: int = 502) -> UpstreamError:
    body = json.dumps({"error": {"message": message, "type": "gateway_error"}}).encode()
    return UpstreamError(status, body, JSON_BODY)


class Gateway:
    """The ASGI application. `cache_options` are those of `AsyncCache`."""

    def __init__(
        self,
        upstream: str,
        redis: str = "redis://127.0.0.1:6379",
        *,
        tier: Tier = "persona",
        lease: float = 60.0,
        **cache_options: Any,
    ) -> None:
        self._upstream = upstream.rstrip("/")
        self._lease = lease
        self._open = lambda: AsyncCache(redis, BYTES, tier=tier, lease=lease, **cache_options)
        self._cache: AsyncCache[bytes] | None = None
        self._http: httpx.AsyncClient | None = None

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._live(receive, send)
        elif scope["type"] == "http":
            await self._serve(scope, receive, send)

    async def _live(self, receive: Receive, send: Send) -> None:
        await receive()
        # An upstream that is silent for longer has lost its lease.
        self._http = httpx.AsyncClient(
            timeout=httpx.Timeout(self._lease * 0.9, connect=10), limits=httpx.Limits()
        )
        self._cache = self._open()
        async with self._http, self._cache:
            await send({"type": "lifespan.startup.complete"})
            await receive()
        await send({"type": "lifespan.shutdown.complete"})

    async def _serve(self, scope: Message, receive: Receive, send: Send) -> None:
        body = b""
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                return
            body += message.get("body", b"")
            if len(body) > MAX_BODY:
                too_large = failure(f"the request is larger than {MAX_BODY} bytes", 413)
                return await respond(send, too_large.status, too_large.headers, too_large.body)
            if not message.get("more_body"):
                break
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        request = None
        if scope["method"] == "POST" and scope["path"].endswith("/chat/completions"):
            request = chat_request(body)
        if "no-store" in cache_control(headers.get("cache-control", "")):
            request = None  # for the upstream alone
        try:
            if request is None:
                await self._pass_on(scope, headers, body, send)
            else:
                await self._complete(request, headers, send)
        except UpstreamError as error:
            await respond(send, error.status, [*error.headers, (b"x-cache", b"MISS")], error.body)
        except RedisError as error:
            refused = failure(f"the cache refuses: {error}", 503)
            await respond(send, refused.status, refused.headers, refused.body)

    async def _pass_on(self, scope: Message, headers: dict[str, str], body: bytes, send: Send) -> None:
        assert self._http is not None
        path = scope["path"].removeprefix("/v1")
        query = f"?{scope['query_string'].decode('latin-1')}" if scope["query_string"] else ""
        request = self._http.build_request(
            scope["method"], self._upstream + path + query, headers=passed_on(headers), content=body
        )
        try:
            reply = await self._http.send(request, stream=True)
        except httpx.HTTPError as error:
            raise failure(f"the upstream cannot be reached: {type(error).__name__}") from error
        async with aclosing(reply):
            start = {
                "type": "http.response.start",
                "status": reply.status_code,
                "headers": raw(reply.headers),
            }
            await send(start)
            async for piece in reply.aiter_bytes():
                await send({"type": "http.response.body", "body": piece, "more_body": True})
            await send({"type": "http.response.body"})

    async def _complete(self, request: dict[str, Any], headers: dict[str, str], send: Send) -> None:
        cache = self._cache
        assert cache is not None, "the server gives no lifespan events"
        wanted = cache_control(headers.get("cache-control", ""))
        key = hashlib.sha256(headers.get("authorization", "").encode()).hexdigest()
        params = {name: value for name, value in request.items() if name != "messages"}
        message = f"{key}\n{canonical(request['messages'], **params)}"
        names: dict[str, Any] = {
            "persona": headers.get("x-cache-persona") or persona_of(request["messages"]),
            "user": str(request.get("user") or "anonymous"),
        }

        async def age() -> int | None:
            """Age of the stored response in seconds."""
            try:
                entry: dict[str, Any] | None = await cache.inspect(message, **names)
            except RedisError:
                return None
            return None if entry is None else int(entry["age-ms"]) // 1000

        max_age = wanted.get("max-age")
        refresh = "no-cache" in wanted or max_age is not None and (await age() or 0) >= max_age
        stream = await cache.stream(
            lambda: self._ask(request, headers),
            message,
            **names,
            refresh=refresh,
            should_store=is_complete,
        )
        told: Headers = [
            (b"x-cache", X_CACHE[stream.source]),
            (b"x-cache-key", cache.key(message, **names)),
        ]
        if stream.source in ("hit", "stale", "local"):
            told.append((b"age", str(await age() or 0).encode()))
        if request.get("stream"):
            with_usage = bool((request.get("stream_options") or {}).get("include_usage"))
            await self._send_stream(stream, with_usage, told, send)
            return
        try:
            response = await stream.value()
        except NotStored as error:  # too large for the cache, or the cache is full
            response = error.value
        whole = json.dumps(put_together(chunks_of(response))).encode()
        await respond(send, 200, [*JSON_BODY, *told], whole)

    async def _send_stream(
        self, stream: AsyncStream[bytes], with_usage: bool, told: Headers, send: Send
    ) -> None:
        has_begun = False

        async def event(data: bytes) -> None:
            nonlocal has_begun
            if not has_begun:  # now the upstream has given no error
                kind = [(b"content-type", b"text/event-stream; charset=utf-8"), *told]
                await send({"type": "http.response.start", "status": 200, "headers": kind})
                has_begun = True
            await send({"type": "http.response.body", "body": b"data: " + data + b"\n\n", "more_body": True})

        try:
            rest = b""
            async for piece in stream:
                *lines, rest = (rest + piece).split(b"\n")
                for line in lines:
                    if (kept := line if with_usage else without_usage(line)) is not None:
                        await event(kept)
        except NotStored:
            pass
        except (UpstreamError, StreamLost) as error:
            if not has_begun:
                raise error if isinstance(error, UpstreamError) else failure(str(error)) from error
            # The client has a part already, so it is told in the stream, as the upstream would.
            await event(json.dumps({"error": {"message": str(error), "type": "gateway_error"}}).encode())
            await send({"type": "http.response.body"})
            return
        await event(b"[DONE]")
        await send({"type": "http.response.body"})

    async def _ask(self, request: dict[str, Any], headers: dict[str, str]) -> AsyncIterator[bytes]:
        """The upstream's chunks, a line each."""
        assert self._http is not None
        body = {**request, "stream": True, "stream_options": {"include_usage": True}}
        url = f"{self._upstream}/chat/completions"
        try:
            async with self._http.stream("POST", url, json=body, headers=passed_on(headers)) as reply:
                if reply.status_code != 200:
                    raise UpstreamError(reply.status_code, await reply.aread(), raw(reply.headers))
                async for line in reply.aiter_lines():
                    if not line.startswith("data:"):
                        continue
                    data = line.removeprefix("data:").strip()
                    if data == "[DONE]":
                        return
                    if "error" in (chunk := json.loads(data)):
                        raise UpstreamError(502, json.dumps(chunk).encode(), JSON_BODY)
                    yield json.dumps(chunk, separators=(",", ":")).encode() + b"\n"
        except (httpx.HTTPError, ValueError) as error:
            raise failure(f"the upstream broke off: {type(error).__name__}") from error
        raise failure("the upstream broke off: its stream has no end")


def chat_request(body: bytes) -> dict[str, Any] | None:
    """Returns the request, or None if it is none that can be cached: the upstream says what is wrong with it."""
    try:
        request = json.loads(body)
        return request if isinstance(request, dict) and isinstance(request.get("messages"), list) else None
    except ValueError:
        return None


def persona_of(messages: Iterable[Any]) -> str:
    """The hash of the system prompt, which names the persona if no header does."""
    system = [one.get("content") for one in messages if isinstance(one, dict) and one.get("role") in SYSTEM]
    return "openai/" + hashlib.sha256(canonical(system).encode()).hexdigest()[:32]


def cache_control(header: str) -> dict[str, int | None]:
    """The directives of Cache-Control, with their numbers."""
    found = re.findall(r"([a-z-]+)(?:=(\d+))?", header.lower())
    return {name: int(number) if number else None for name, number in found}


def passed_on(headers: Any) -> dict[str, str]:
    return {name: value for name, value in headers.items() if name.lower() not in NOT_PASSED_ON}


def raw(headers: Any) -> Headers:
    return [(name.encode(), value.encode()) for name, value in passed_on(headers).items()]


async def respond(send: Send, status: int, headers: Headers, body: bytes) -> None:
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


# Chunks


def chunks_of(response: bytes) -> list[dict[str, Any]]:
    return [json.loads(line) for line in response.splitlines()]


def is_complete(response: bytes) -> bool:
    """Whether each choice has come to its end."""
    ends: dict[int, bool] = {}
    for chunk in chunks_of(response):
        for choice in chunk.get("choices") or []:
            ends[choice["index"]] = ends.get(choice["index"], False) or bool(choice.get("finish_reason"))
    return bool(ends) and all(ends.values())


def without_usage(line: bytes) -> bytes | None:
    """The chunk for a caller that did not ask for the usage; None if it has nothing else."""
    chunk = json.loads(line)
    if "usage" not in chunk:
        return line
    if not chunk.get("choices"):
        return None
    del chunk["usage"]
    return json.dumps(chunk, separators=(",", ":")).encode()


def put_together(chunks: list[dict[str, Any]]) -> dict[str, Any]:
    """The completion that the chunks are the stream of."""
    whole: dict[str, Any] = {}
    choices: dict[int, dict[str, Any]] = {}
    for chunk in chunks:
        for name, value in chunk.items():
            if name != "choices" and value is not None:
                whole[name] = value
        for part in chunk.get("choices") or []:
            new = {"index": part["index"], "message": {"role": "assistant", "content": None}}
            choice = choices.setdefault(part["index"], new)
            merge(choice["message"], part.get("delta") or {})
            for name in ("finish_reason", "logprobs"):
                if (value := part.get(name)) is not None:
                    choice[name] = merged(choice.get(name), value)
    for choice in choices.values():
        for name in ("finish_reason", "logprobs"):
            choice.setdefault(name, None)
        for call in choice["message"].get("tool_calls") or []:
            call.pop("index", None)
    ordered = [choices[index] for index in sorted(choices)]
    return {**whole, "object": "chat.completion", "choices": ordered}


def merge(into: dict[str, Any], delta: dict[str, Any]) -> None:
    for name, value in delta.items():
        if name in ("role", "type", "id", "index"):
            into[name] = value if value is not None else into.get(name)
        else:
            into[name] = merged(into.get(name), value)


def merged(old: Any, new: Any) -> Any:
    """Texts are joined, lists with an index merged by it, other lists joined, objects merged."""
    if old is None or new is None:
        if isinstance(new, list) and new and isinstance(new[0], dict) and "index" in new[0]:
            return merged([], new)
        return old if new is None else new
    if isinstance(old, str) and isinstance(new, str):
        return old + new
    if isinstance(old, dict) and isinstance(new, dict):
        merge(old, new)
        return old
    if isinstance(old, list) and isinstance(new, list):
        for one in new:
            same = [
                known for known in old if isinstance(one, dict) and known.get("index", -1) == one.get("index")
            ]
            if same:
                merge(same[0], one)
            else:
                old.append(one)
        return old
    return new


def main() -> None:
    import uvicorn

    parser = argparse.ArgumentParser(
        prog="chatcache-gateway", description="A cache before an OpenAI-compatible API."
    )
    parser.add_argument("--upstream", required=True, help="its base URL, which ends in /v1")
    parser.add_argument(
        "--redis", default="redis://127.0.0.1:6379", help="a Redis with chatcache (%(default)s)"
    )
    parser.add_argument("--host", default="127.0.0.1", help="(%(default)s)")
    parser.add_argument("--port", type=int, default=8080, help="(%(default)s)")
    parser.add_argument(
        "--tier",
        choices=["persona", "response"],
        default="persona",
        help="the callers that share (%(default)s)",
    )
    parser.add_argument("--ttl", type=float, help="seconds (the server's setting)")
    parser.add_argument("--stale", type=float, help="seconds after the TTL (the server's setting)")
    options = parser.parse_args()
    gateway = Gateway(
        options.upstream, options.redis, tier=options.tier, ttl=options.ttl, stale=options.stale
    )
    uvicorn.run(gateway, host=options.host, port=options.port, log_level="warning")


if __name__ == "__main__":
    main()
