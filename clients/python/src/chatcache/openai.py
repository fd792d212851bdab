"""A gateway for OpenAI-compatible clients: `base_url` in the SDK is all that changes. Needs the extra `openai`.

    chatcache-gateway --upstream https://host/v1 --redis redis://127.0.0.1:6379 --port 8080

A POST to a path that ends in /chat/completions is cached, streamed or not, with tools or without. Every other request goes to
the upstream as it is, and so does one with `Cache-Control: no-store`. `no-cache` asks for a new response, `max-age` for one
that is younger. The upstream is always asked for a stream: what is stored is its chunks, a line each. So callers who stream
read along, all others get the chunks put together, and one call of the upstream serves both.

`calls` tells which requests share a response. Errors of the upstream are passed on and never stored, and so is a stream that
breaks off.
"""

import argparse
import json
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import aclosing
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import Any

import httpx
from redis.exceptions import RedisError

from chatcache.aio import AsyncCache, AsyncStream
from chatcache.calls import (
    HARMLESS,
    OF_BODY,
    OF_CONNECTION,
    Call,
    Chat,
    Headers,
    cache_control,
    chat_of,
    pattern,
    target_of,
    without,
)
from chatcache.chunks import (
    as_line,
    chunks_of,
    events,
    is_chunk,
    is_complete,
    put_together,
    taken_apart,
    without_usage,
)
from chatcache.codecs import BYTES
from chatcache.errors import NotStored, StreamLost
from chatcache.hooks import Source
from chatcache.request import Tier

Message = dict[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
X_CACHE: dict[Source, bytes] = {
    "local": b"HIT",
    "hit": b"HIT",
    "stale": b"STALE",
    "shared": b"SHARED",
    "computed": b"MISS",
    "uncached": b"MISS",
}

# Headers of a response that the gateway and its server set themselves.
SET_ANEW = frozenset({b"age", b"content-type", b"date", b"server", b"x-cache", b"x-cache-key"})

# A client that sends cookies shares no response with one that has others, so a chat request gets none.
COOKIES = frozenset({b"set-cookie"})

CONTROL = re.compile(rb"[\x00-\x1f\x7f]")

# Of a request, in bytes.
MAX_BODY = 64 << 20

# Errors of a call of the upstream, a reply that is no JSON among them.
BROKEN = (httpx.HTTPError, httpx.InvalidURL, ValueError)


class UpstreamError(Exception):
    """The upstream gave no response: its reply is passed on as it is."""

    def __init__(self, status: int, body: bytes, headers: Headers) -> None:
        super().__init__(f"the upstream replied {status}")
        self.status, self.body, self.headers = status, body, headers


JSON_BODY: Headers = [(b"content-type", b"application/json")]


def failure(message: str, status: int = 502) -> UpstreamError:
    body = json.dumps({"error": {"message": message, "type": "gateway_error"}}).encode()
    return UpstreamError(status, body, JSON_BODY)


def as_reply(error: Exception) -> UpstreamError:
    if isinstance(error, UpstreamError):
        return error
    return (
        failure(f"the cache refuses: {error}", 503) if isinstance(error, RedisError) else failure(str(error))
    )


class Gateway:
    """The ASGI application. `cache_options` are those of `AsyncCache`.

    The upstream may be silent for `timeout` seconds, before its first piece and between two. `ignored_headers` are added
    to `HARMLESS`: a `*` in a name stands for any text.
    """

    def __init__(
        self,
        upstream: str,
        redis: str = "redis://127.0.0.1:6379",
        *,
        tier: Tier = "persona",
        timeout: float = 600.0,
        ignored_headers: Iterable[str] = (),
        **cache_options: Any,
    ) -> None:
        self._upstream = upstream.rstrip("/")
        self._timeout = timeout
        self._ignored = pattern((*HARMLESS, *ignored_headers))
        # A lease ends with its gateway's connection, and otherwise after the upstream's time-out.
        options = {"lease": timeout + 30, "wait": timeout, **cache_options}
        self._open = lambda: AsyncCache(redis, BYTES, tier=tier, **options)
        self._cache: AsyncCache[bytes] | None = None
        self._http: httpx.AsyncClient | None = None

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._live(receive, send)
        elif scope["type"] == "http":
            await self._serve(scope, receive, send)

    async def _live(self, receive: Receive, send: Send) -> None:
        await receive()
        self._http = httpx.AsyncClient(
            # A reply is passed on in the encoding that the client asks for.
            headers={"accept-encoding": "identity"},
            # The cookies of one client are not for another.
            cookies=CookieJar(DefaultCookiePolicy(allowed_domains=[])),
            timeout=httpx.Timeout(self._timeout, connect=10),
            limits=httpx.Limits(),
        )
        self._cache = self._open()
        async with self._http, self._cache:
            await send({"type": "lifespan.startup.complete"})
            await receive()
        await send({"type": "lifespan.shutdown.complete"})

    async def _serve(self, scope: Message, receive: Receive, send: Send) -> None:
        pieces: list[bytes] = []
        size = 0
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                return
            pieces.append(message.get("body", b""))
            size += len(pieces[-1])
            if size > MAX_BODY:
                too_large = failure(f"the request is larger than {MAX_BODY} bytes", 413)
                return await respond(send, too_large.status, too_large.headers, too_large.body)
            if not message.get("more_body"):
                break
        call = Call(scope["method"], target_of(scope), list(scope["headers"]), b"".join(pieces))
        directives = cache_control(call.header(b"cache-control"))
        chat = chat_of(call, self._ignored) if call.is_chat and "no-store" not in directives else None
        try:
            if chat is None:
                await self._pass_on(call, send)
            else:
                await self._complete(call, chat, directives, send)
        except (UpstreamError, RedisError) as error:
            told = as_reply(error)
            await respond(send, told.status, [*told.headers, (b"x-cache", b"MISS")], told.body)

    async def _pass_on(self, call: Call, send: Send) -> None:
        assert self._http is not None
        try:
            request = self._http.build_request(
                call.method,
                self._upstream + call.target,
                headers=without(call.headers, OF_CONNECTION),
                content=call.body,
            )
            reply = await self._http.send(request, stream=True)
        except BROKEN as error:
            raise self._failure(error) from error
        async with aclosing(reply):
            headers = without(reply_headers(reply), OF_CONNECTION | (COOKIES if call.is_chat else set()))
            start = {"type": "http.response.start", "status": reply.status_code, "headers": headers}
            await send(start)
            async for piece in reply.aiter_raw():
                await send({"type": "http.response.body", "body": piece, "more_body": True})
            await send({"type": "http.response.body"})

    async def _complete(self, call: Call, chat: Chat, directives: dict[str, int | None], send: Send) -> None:
        cache = self._cache
        assert cache is not None, "the server gives no lifespan events"

        async def age() -> int | None:
            """Age of the stored response in seconds."""
            try:
                entry: dict[str, Any] | None = await cache.inspect(chat.message, **chat.names)
            except RedisError:
                return None
            return None if entry is None else int(entry["age-ms"]) // 1000

        max_age = directives.get("max-age")
        refresh = "no-cache" in directives or max_age is not None and (await age() or 0) >= max_age
        stream = await cache.stream(
            lambda: self._ask(call, chat),
            chat.message,
            **chat.names,
            refresh=refresh,
            should_store=is_complete,
        )
        told: Headers = [
            (b"x-cache", X_CACHE[stream.source]),
            (b"x-cache-key", printable(cache.key(chat.message, **chat.names))),
        ]
        if stream.source in ("hit", "stale", "local"):
            told.append((b"age", str(await age() or 0).encode()))

        def headers() -> Headers:
            """Known once the response, or its first piece, is there."""
            return [*(call.replied if stream.source in ("computed", "uncached") else ()), *told]

        if chat.request.get("stream"):
            with_usage = bool((chat.request.get("stream_options") or {}).get("include_usage"))
            await self._send_stream(stream, with_usage, headers, send)
            return
        try:
            response = await stream.value()
        except NotStored as error:  # too large for the cache, or the cache is full
            response = error.value
        whole = json.dumps(put_together(chunks_of(response))).encode()
        await respond(send, 200, [*JSON_BODY, *headers()], whole)

    async def _send_stream(
        self,
        stream: AsyncStream[bytes],
        with_usage: bool,
        headers: Callable[[], Headers],
        send: Send,
    ) -> None:
        has_begun = False

        async def event(data: bytes) -> None:
            nonlocal has_begun
            if not has_begun:  # now the upstream has given no error
                kind = [(b"content-type", b"text/event-stream; charset=utf-8"), *headers()]
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
        except (UpstreamError, StreamLost, RedisError) as error:
            told = as_reply(error)
            if not has_begun:
                raise told from error
            # The client has a part already, so it is told in the stream, as the upstream does.
            await event(told.body)
            await send({"type": "http.response.body"})
            return
        await event(b"[DONE]")
        await send({"type": "http.response.body"})

    async def _ask(self, call: Call, chat: Chat) -> AsyncIterator[bytes]:
        """The upstream's chunks, a line each."""
        assert self._http is not None
        options = {**(chat.request.get("stream_options") or {}), "include_usage": True}
        text = json.dumps({**chat.request, "stream": True, "stream_options": options}, ensure_ascii=False)
        # Half a character (a lone surrogate) has no bytes of UTF-8, and goes as JSON's escape.
        body = text.encode("utf-8", "backslashreplace")
        headers = [*JSON_BODY, *call.sent]
        said: list[bytes] = []
        try:
            url = self._upstream + call.target
            async with self._http.stream("POST", url, content=body, headers=headers) as reply:
                replied = without(reply_headers(reply), OF_CONNECTION | OF_BODY | COOKIES)
                call.replied = without(replied, SET_ANEW)
                if reply.status_code != 200 or is_json(reply):
                    whole = await reply.aread()
                    completion = completion_of(whole) if reply.status_code == 200 else None
                    if completion is None:
                        raise UpstreamError(reply.status_code, whole, replied)
                    for chunk in taken_apart(completion):
                        yield as_line(chunk)
                    return
                async for data in events(reply.aiter_bytes()):
                    if data.strip() == b"[DONE]":
                        return
                    chunk = json.loads(data)
                    if not is_chunk(chunk):
                        raise failure("the upstream sends no chunks of a completion")
                    if chunk.get("error"):
                        raise UpstreamError(502, json.dumps(chunk).encode(), JSON_BODY)
                    said.append(as_line(chunk))
                    yield said[-1]
        except BROKEN as error:
            raise self._failure(error) from error
        if not is_complete(b"".join(said)):
            raise failure("the upstream broke off: its stream has no end")

    def _failure(self, error: Exception) -> UpstreamError:
        if isinstance(error, httpx.ConnectError | httpx.ConnectTimeout):
            return failure(f"the upstream cannot be reached: {type(error).__name__}")
        if isinstance(error, httpx.TimeoutException):
            return failure(f"the upstream was silent for {self._timeout:g} s", 504)
        return failure(f"the upstream broke off: {type(error).__name__}")


# Replies


def printable(key: bytes) -> bytes:
    """The key as a header's value: control characters of a user's name would end it."""
    return CONTROL.sub(lambda found: b"%%%02X" % found[0][0], key)


def reply_headers(reply: httpx.Response) -> Headers:
    return [(name.lower(), value) for name, value in reply.headers.raw]


def is_json(reply: httpx.Response) -> bool:
    kind: str = reply.headers.get("content-type", "")
    return kind.lower().startswith("application/json")


def completion_of(body: bytes) -> dict[str, Any] | None:
    """Returns the completion of an upstream that does not stream, or None if the body is none."""
    reply = json.loads(body)
    is_one = isinstance(reply, dict) and reply.get("choices") and is_chunk(reply)
    return reply if is_one and all(isinstance(one.get("message"), dict) for one in reply["choices"]) else None


async def respond(send: Send, status: int, headers: Headers, body: bytes) -> None:
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


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
    parser.add_argument(
        "--timeout",
        type=float,
        default=600.0,
        help="seconds that the upstream may be silent, before its first piece and between two (%(default)s)",
    )
    parser.add_argument(
        "--ignore-header",
        metavar="NAME",
        action="append",
        default=[],
        help="a header in which requests that share a response may differ; may end in *, and be given again",
    )
    options = parser.parse_args()
    gateway = Gateway(
        options.upstream,
        options.redis,
        tier=options.tier,
        timeout=options.timeout,
        ignored_headers=options.ignore_header,
        ttl=options.ttl,
        stale=options.stale,
    )
    uvicorn.run(gateway, host=options.host, port=options.port, log_level="warning")


if __name__ == "__main__":
    main()
