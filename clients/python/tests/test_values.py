"""Requests, keys, texts and codecs."""

import asyncio
import json
import logging
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import BaseModel

from chatcache import BYTES, JSON, TEXT, Answer, AsyncCache, Cache, Hooks, PydanticCodec, TextCodec, canonical
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
    with pytest.raises(TypeError, match="object"):
        canonical([object()])


def test_a_message_of_an_sdk_counts_as_what_is_sent() -> None:
    class Message(BaseModel):
        role: str
        content: str | None = None
        refusal: str | None = None

    assert canonical([Message(role="user", content="hi")]) == canonical([{"role": "user", "content": "hi"}])
    assert canonical([Message(role="user", content="hi")]) != canonical([Message(role="user", content="bye")])


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
    assert Cache(server.url).get("hi", persona="p", user="u") is None
    with Cache(server.url) as cache:
        stream = cache.stream(lambda: iter(["caf", "é"]), "hi", persona="p", user="u")
        assert list(stream) == ["caf", "é"]
        assert stream.source == "computed"
    server.run("CHATCACHE.SET", "response", "u", "p", "hi", b"caf\xe9")
    answer = Cache(server.url, TextCodec("replace")).get("hi", persona="p", user="u")
    assert answer and answer.value == "caf\N{REPLACEMENT CHARACTER}"


class Wider(Point):
    y: int


def test_a_stored_value_that_the_codec_cannot_read_is_computed_anew(
    server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    failures: list[str] = []

    class Seen(Hooks):
        def failed(self, operation: str, error: BaseException) -> None:
            failures.append(operation)

    of_u: dict[str, Any] = {"persona": "p", "user": "u"}
    with (
        Cache(server.url, PydanticCodec(Point)) as old,
        Cache(server.url, PydanticCodec(Wider), hooks=Seen()) as new,
        caplog.at_level(logging.WARNING, "chatcache"),
    ):
        for message in ("a", "b"):
            old.set(message, Point(x=1), **of_u)
        assert new.get("a", **of_u) is None
        wider = Wider(x=1, y=2)
        assert new.get_or_compute(lambda: wider, "a", **of_u) == Answer(wider, "computed")
        assert new.get_many(["a", "b"], **of_u) == [Answer(wider, "hit"), None]
        assert failures == ["decode"] * 3
        assert len(caplog.records) == 1

    async def work() -> None:
        async with AsyncCache(server.url, PydanticCodec(Wider)) as cache:

            async def compute() -> Wider:
                return wider

            assert await cache.get("b", **of_u) is None
            assert (await cache.get_or_compute(compute, "b", **of_u)).source == "computed"
            assert (await cache.get_or_compute(compute, "b", **of_u)).source == "hit"

    asyncio.run(work())


def ask(cache: Cache[Any], value: Any) -> Answer[Any]:
    return cache.get_or_compute(lambda: value, "hi", persona="p", user="u")


def test_a_value_of_another_type_is_refused_by_name(server: Server) -> None:
    wrong: list[tuple[Any, Any]] = [(TEXT, None), (TEXT, b"x"), (BYTES, "x")]
    for codec, value in wrong:
        with Cache(server.url, codec) as cache, pytest.raises(TypeError, match=type(value).__name__):
            ask(cache, value)
    assert server.stat("leases") == 0


@pytest.mark.parametrize("ttl", [float("inf"), float("nan"), 0, -1, 1e11])
def test_times_that_redis_would_refuse_are_refused_before_the_model(server: Server, ttl: float) -> None:
    with Cache(server.url) as cache:
        for call in (
            lambda: cache.get_or_compute(lambda: pytest.fail("called"), "hi", persona="p", user="u", ttl=ttl),
            lambda: cache.stream(lambda: pytest.fail("called"), "hi", persona="p", user="u", ttl=ttl),
            lambda: cache.set("hi", "x", persona="p", user="u", ttl=ttl),
            lambda: Cache(server.url, ttl=ttl),
            lambda: Cache(server.url, stale=ttl or -1),
            lambda: Cache(server.url, lease=ttl if ttl < 1 else float("inf")),
        ):
            with pytest.raises(ValueError):
                call()
        assert server.stat("leases") == 0


@pytest.mark.parametrize("kind", [Cache, AsyncCache])
def test_a_connection_that_decodes_is_refused(kind: type[Any]) -> None:
    for url, connection in (
        ("redis://127.0.0.1?decode_responses=true", {}),
        ("redis://127.0.0.1", {"decode_responses": True}),
        ("redis+sentinel://127.0.0.1/service", {"decode_responses": True}),
    ):
        with pytest.raises(ValueError, match="decode_responses"):
            kind(url, connection=connection)


def test_only_text_and_bytes_have_pieces(server: Server) -> None:
    with pytest.raises(TypeError):
        Cache(server.url, JSON).stream(lambda: iter([]), "hi", persona="p", user="u")


def test_both_caches_have_the_same_names() -> None:
    def names(kind: type) -> set[str]:
        return {name for name in vars(kind) if not name.startswith("_")}

    assert names(AsyncCache) - {"aclose"} == names(Cache) - {"close"}
