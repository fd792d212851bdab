"""A request: the four words, and the ID of the tier `session`, that name a response."""

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

Tier = Literal["msg", "persona", "session", "response"]

Text = str | bytes

# Parameters of a chat request that do not change the response.
IGNORED = frozenset({"stream", "stream_options", "user", "metadata"})


@dataclass(frozen=True)
class Request:
    tier: str
    user: bytes
    persona: bytes
    message: bytes
    id: bytes | None = None

    @property
    def words(self) -> tuple[str | bytes, ...]:
        """The request as arguments of a command; `options` go behind them."""
        return self.tier, self.user, self.persona, self.message

    @property
    def options(self) -> tuple[str | bytes, ...]:
        return () if self.id is None else ("ID", self.id)

    @property
    def shared(self) -> "Request":
        """The same request for all callers that share its response."""
        return self if self.tier in ("session", "response") else replace(self, user=b"")

    @property
    def key(self) -> bytes:
        """The name of the entry's key, as CHATCACHE.KEY returns it on a server that is no cluster."""
        digest = hashlib.md5(self.message, usedforsecurity=False).hexdigest().encode()
        parts: tuple[bytes, ...]
        if self.tier == "msg":
            parts = (digest,)
        elif self.tier == "persona":
            parts = (encoded(self.persona), digest)
        elif self.tier == "session":
            parts = (encoded(self.user), digest if self.id is None else encoded(self.id))
        elif self.tier == "response":
            parts = (encoded(self.user), encoded(self.persona), digest)
        else:
            raise ValueError(f"unknown tier {self.tier!r}: use msg, persona, session or response")
        return b":".join((self.tier.encode(), *parts))


def encoded(name: bytes) -> bytes:
    """The name with `%`, `:`, `{` and `}` percent-encoded, so that no two requests share a key."""
    for byte in b"%:{}":  # the percent sign first
        name = name.replace(bytes([byte]), b"%%%02X" % byte)
    return name


def as_bytes(text: Text) -> bytes:
    return text if isinstance(text, bytes) else text.encode()


def canonical(messages: Sequence[Any], **params: Any) -> str:
    """Returns the message for a chat request: sorted JSON of all that decides the response.

    `params` are the other parameters of the request (model, tools, temperature and so on). Two requests have the same
    text only if they are equal in all of them. `stream`, `stream_options`, `user` and `metadata` are left out, and so is
    each parameter that is None. Messages may be objects of an SDK: they count as what the SDK sends of them.
    """
    kept = {name: value for name, value in params.items() if value is not None and name not in IGNORED}
    return sorted_json({"messages": messages, **kept}, sent)


def sent(value: Any) -> Any:
    """Returns the fields of a pydantic model that were set."""
    if hasattr(value, "model_dump"):
        return value.model_dump(mode="json", exclude_unset=True)
    raise TypeError(f"an object of type {type(value).__name__} is no part of a chat request")


def sorted_json(value: Any, default: Callable[[Any], Any] | None = None) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False, default=default)
