"""Requests, keys, texts and codecs."""

import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import BaseModel

from chatcache import BYTES, JSON, AsyncCache, Cache, PydanticCodec, TextCodec, canonical
from tests.servers import Server

NAMES = st.binary(min_size=1, max_size=40) | st.text("%:{}/aä\n", min_size=1).map(str.encode)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=200)
@given(
    tier=st.sampled_from(["msg", "persona", "session", "response"]),
    user=NAMES,
    persona=NAMES,
    message=st.binary(max_size=60),
    id=st.none() | NAMES,
)
def test_a_key_computed_here_is_the_servers(
    server: Server, tier: Any, user: bytes, persona: bytes, message: bytes, id: bytes | None
) -> None:
    id = id if tier == "session" else None
    more = () if id is None else ("ID", id)
    theirs = server.run("CHATCACHE.KEY", tier, user, persona, message, *more)
    assert CACHE.key(message, persona=persona, user=user, tier=tier, id=id) == theirs


CACHE = Cache()


def test_a_text_is_its_utf_8() -> None:
    assert CACHE.key("ä", persona="p:ä", tier="persona") == CACHE.key(
        "ä".encode(), persona="p:ä".encode(), tier="persona"
    )
    with pytest.raises(ValueError, match="unknown tier"):
        CACHE.key("hi", persona="p", tier="any")  # type: ignore[arg-type]


def test_a_canonical_message_tells_apart_what_decides_the_response() -> None:
    messages = [{"role": "user", "content": "hi"}]
    first = canonical(messages, model="large", temperature=0, stream=True, user="ann", metadata={"a": 1})
    assert first == canonical(messages, temperature=0, model="large", seed=None)
    assert json.loads(first) == {"messages": messages, "model": "large", "temperature": 0}
    others = [
        canonical(messages, model="small", temperature=0),
        canonical(messages, model="large", temperature=1),
        canonical(messages, model="large", temperature=0, tools=[{"type": "function"}]),
        canonical([*messages, *messages], model="large", temperature=0),
    ]
    assert len({first, *others}) == 5
    assert canonical([{"a": 1, "b": 2}]) == canonical([{"b": 2, "a": 1}])
    with pytest.raises(ValueError):
        canonical(messages, temperature=float("nan"))


class Point(BaseModel):
    x: int
    tags: tuple[str, ...] = ()


def test_values_come_back_as_they_went(server: Server) -> None:
    text = Cache(server.url)
    assert text.set("hi", "grüß dich", persona="p", user="u")
    assert text.get("hi", persona="p", user="u").value == "grüß dich"  # type: ignore[union-attr]
    data = Cache(server.url, BYTES)
    raw = bytes(range(256))
    assert data.set("bytes", raw, persona="p", user="u")
    assert data.get_or_compute(lambda: b"", "bytes", persona="p", user="u").value == raw
    with Cache(server.url, JSON) as cache:
        value = {"a": [1, None, "ä"]}
        assert cache.get_or_compute(lambda: value, "json", persona="p", user="u").value == value
        assert cache.get_or_compute(lambda: None, "json", persona="p", user="u").value == value
    with Cache(server.url, PydanticCodec(Point)) as points:
        point = Point(x=1, tags=("a",))
        for source in ("computed", "hit"):
            answer = points.get_or_compute(lambda: point, "point", persona="p", user="u")
            assert (answer.value, answer.source) == (point, source)


def test_bytes_that_are_no_text_are_replaced_if_so_wanted(server: Server) -> None:
    server.run("CHATCACHE.SET", "response", "u", "p", "hi", b"caf\xe9")
    with pytest.raises(UnicodeDecodeError):
        Cache(server.url).get("hi", persona="p", user="u")
    answer = Cache(server.url, TextCodec("replace")).get("hi", persona="p", user="u")
    assert answer and answer.value == "caf\N{REPLACEMENT CHARACTER}"


def test_only_text_and_bytes_have_pieces(server: Server) -> None:
    with pytest.raises(TypeError):
        Cache(server.url, JSON).stream(lambda: iter([]), "hi", persona="p", user="u")


def test_both_caches_have_the_same_names() -> None:
    def names(kind: type) -> set[str]:
        return {name for name in vars(kind) if not name.startswith("_")}

    assert names(AsyncCache) - {"aclose"} == names(Cache) - {"close"}
