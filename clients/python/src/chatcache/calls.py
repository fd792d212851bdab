"""Calls of the gateway: which ones can be cached, and which of them share a response.

Two calls share one if they are equal in all that may decide it: path, query, the body (`canonical`), and all headers that the
upstream gets but those of `HARMLESS`. A header that is not known may be a key, and the gateway cannot tell if another key is
valid.
"""

import fnmatch
import hashlib
import json
import re
import string
from collections.abc import Iterable
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

from chatcache.request import canonical, sorted_json

# Names in lower case, as ASGI has them.
Headers = list[tuple[bytes, bytes]]

# Headers of one connection.
OF_CONNECTION = frozenset(
    {
        b"connection",
        b"expect",
        b"host",
        b"keep-alive",
        b"proxy-authenticate",
        b"proxy-authorization",
        b"proxy-connection",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
    }
)

# Headers of a body that is sent anew.
OF_BODY = frozenset({b"accept-encoding", b"content-encoding", b"content-length"})

# Headers of a chat request that are for the gateway, or that it sets itself.
OF_GATEWAY = frozenset({b"cache-control", b"content-type", b"x-cache-persona"})

# Headers that do not decide a response, and carry no identity.
HARMLESS = (
    *("accept", "accept-language", "date", "idempotency-key", "pragma", "priority", "sec-fetch-*"),
    *("user-agent", "x-requested-with", "x-stainless-*"),
    *("forwarded", "via", "x-forwarded-for", "x-forwarded-host", "x-forwarded-port", "x-forwarded-proto"),
    *("x-real-ip", "x-request-start"),
    *("b3", "baggage", "sentry-trace", "traceparent", "tracestate", "uber-trace-id", "x-amzn-trace-id"),
    *("x-b3-*", "x-client-request-id", "x-cloud-trace-context", "x-correlation-id", "x-datadog-*"),
    *("x-ms-client-request-id", "x-request-id"),
)

# Roles of messages that make the persona.
SYSTEM = ("system", "developer")


@dataclass
class Call:
    """A request of a client."""

    method: str
    # Path and query behind the base URL.
    target: str
    headers: Headers
    body: bytes
    # Headers of the upstream's reply, if the response was computed for this call.
    replied: Headers = field(default_factory=list)

    @property
    def is_chat(self) -> bool:
        return self.method == "POST" and self.target.partition("?")[0].endswith("/chat/completions")

    @property
    def sent(self) -> Headers:
        """Headers that the upstream gets with a chat request, whose body is sent anew."""
        return without(self.headers, OF_CONNECTION | OF_BODY | OF_GATEWAY)

    def header(self, name: bytes) -> bytes:
        return next((value for known, value in self.headers if known == name), b"")


@dataclass(frozen=True)
class Chat:
    """A chat request that can be cached."""

    request: dict[str, Any]
    # The hash of all that decides the response.
    message: str
    persona: bytes
    user: bytes

    @property
    def names(self) -> dict[str, Any]:
        return {"persona": self.persona, "user": self.user}


def target_of(scope: dict[str, Any]) -> str:
    """Path and query behind the base URL, which has the /v1 already. Escapes stay as they are."""
    path: bytes = scope.get("raw_path") or quote(scope["path"]).encode()
    path = path.removeprefix(b"/v1") if path.startswith(b"/v1/") else path
    target = path + b"?" + scope["query_string"] if scope["query_string"] else path
    return quote(target, safe=string.punctuation.replace("#", ""))


def chat_of(call: Call, ignored: re.Pattern[str]) -> Chat | None:
    """Returns the request, or None if it is none that can be cached: the upstream says what is wrong with it."""
    try:
        request = json.loads(call.body, parse_constant=refuse)
        if not is_chat(request):
            return None
        params = {name: value for name, value in request.items() if name != "messages"}
        decides = canonical(request["messages"], **params)
    except (ValueError, RecursionError):
        return None
    texts = sorted((name.decode("latin-1"), value.decode("latin-1")) for name, value in call.sent)
    identity = [pair for pair in texts if not ignored.fullmatch(pair[0])]
    message = hashlib.sha256(f"{sorted_json([call.target, identity])}\n{decides}".encode())
    return Chat(
        request,
        message.hexdigest(),
        call.header(b"x-cache-persona") or persona_of(request["messages"]),
        # A lone surrogate has no bytes of UTF-8.
        (request.get("user") or "anonymous").encode("utf-8", "surrogatepass"),
    )


def refuse(constant: str) -> None:
    raise ValueError(f"{constant} is no JSON")


def is_chat(request: Any) -> bool:
    """Whether the properties that the gateway reads have the types that it expects."""
    return (
        isinstance(request, dict)
        and isinstance(request.get("messages"), list)
        and isinstance(request.get("stream"), bool | None)
        and isinstance(request.get("stream_options"), dict | None)
        and isinstance(request.get("user"), str | None)
    )


def persona_of(messages: Iterable[Any]) -> bytes:
    """The hash of the system prompt, which names the persona if no header does."""
    system = [one.get("content") for one in messages if isinstance(one, dict) and one.get("role") in SYSTEM]
    return b"openai/" + hashlib.sha256(canonical(system).encode()).hexdigest()[:32].encode()


def cache_control(header: bytes) -> dict[str, int | None]:
    """The directives of Cache-Control, with their numbers."""
    found = re.findall(r"([a-z-]+)(?:=(\d{1,15}))?", header.decode("latin-1").lower())
    return {name: int(number) if number else None for name, number in found}


# Headers


def pattern(names: Iterable[str]) -> re.Pattern[str]:
    return re.compile("|".join(fnmatch.translate(name.lower()) for name in names))


def without(headers: Headers, names: AbstractSet[bytes]) -> Headers:
    return [(name, value) for name, value in headers if name not in names]
