"""The cache for LangChain passes LangChain's own tests, in RESP2 and RESP3."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest

pytest.importorskip("langchain_tests")

from langchain_core.caches import BaseCache
from langchain_core.language_models import BaseChatModel, FakeListChatModel
from langchain_core.messages import AIMessage
from langchain_core.outputs import ChatGeneration, ChatResult
from langchain_tests.integration_tests import AsyncCacheTestSuite, SyncCacheTestSuite
from pydantic import BaseModel

from chatcache.langchain import ChatcacheCache, message
from tests.servers import Script, Server

pytestmark = pytest.mark.slow


@pytest.fixture(params=[2, 3])
def cache(server: Server, request: pytest.FixtureRequest) -> Iterator[BaseCache]:
    cache = ChatcacheCache(server.url, connection={"protocol": request.param})
    yield cache
    cache.close()


class TestSync(SyncCacheTestSuite):
    @pytest.fixture
    def cache(self, cache: BaseCache) -> BaseCache:
        return cache


class TestAsync(AsyncCacheTestSuite):
    @pytest.fixture
    def cache(self, cache: BaseCache) -> BaseCache:
        return cache


def test_a_chat_model_is_asked_once(cache: BaseCache) -> None:
    model = FakeListChatModel(responses=["first", "second"], cache=cache)
    assert [model.invoke("hi").content for _ in range(2)] == ["first", "first"]
    assert model.invoke("another").content == "second"


def test_namespaces_and_long_parameters_are_kept_apart(server: Server) -> None:
    one, two = (ChatcacheCache(server.url, namespace=name) for name in ("one", "two"))
    generations = [ChatGeneration(message=AIMessage(content="hello", response_metadata={"model": "large"}))]
    long = "x" * 80_000
    for cache in (one, two):
        cache.update("hi", long, generations)
    assert one.lookup("hi", long) == generations
    assert one.lookup("hi", long + "y") is None
    one.clear()
    assert (one.lookup("hi", long), two.lookup("hi", long)) == (None, generations)
    assert len(message("hi", long)) < 100


def test_a_ttl_is_kept(server: Server) -> None:
    cache = ChatcacheCache(server.url, ttl=100)
    cache.update("hi", "model", [ChatGeneration(message=AIMessage(content="hello"))])
    key = server.run("KEYS", "persona:langchain:*")[0]
    assert 90_000 < server.client.pttl(key) <= 100_000


class Parsed(BaseModel):
    answer: int = 42


class OwnMessage(AIMessage):
    """A class that a stored response must not name."""


class Model(BaseChatModel):
    """Says one thing, however often it is asked."""

    said: Any

    @property
    def _llm_type(self) -> str:
        return "one"

    def _generate(self, messages: Any, stop: Any = None, run_manager: Any = None, **more: Any) -> ChatResult:
        return ChatResult(generations=[ChatGeneration(message=self.said)])


@pytest.mark.parametrize(
    "said",
    [AIMessage(content="hi", additional_kwargs={"parsed": Parsed()}), OwnMessage(content="hi")],
    ids=["object", "class"],
)
def test_a_response_that_cannot_be_read_back_is_not_stored(
    server: Server, said: AIMessage, caplog: pytest.LogCaptureFixture
) -> None:
    model = Model(said=said, cache=ChatcacheCache(server.url))
    for _ in range(3):
        assert model.invoke("hi") is not None
    assert server.stat("entries") == 0
    assert len([record for record in caplog.records if "not stored" in record.message]) == 1


def test_a_stored_response_that_cannot_be_read_is_a_miss(server: Server) -> None:
    cache = ChatcacheCache(server.url)
    for stored in ("no JSON", '{"lc": 1, "type": "constructor", "id": ["os", "system"], "kwargs": {}}', "5"):
        server.run("CHATCACHE.SET", "persona", "", "langchain", message("hi", "model"), stored)
        assert cache.lookup("hi", "model") is None
    cache.update("hi", "model", [ChatGeneration(message=AIMessage(content="hello"))])
    assert cache.lookup("hi", "model") is not None


def test_a_full_redis_loses_no_answer(server: Server, caplog: pytest.LogCaptureFixture) -> None:
    model = Model(said=AIMessage(content="hello"), cache=ChatcacheCache(server.url))
    server.client.config_set("maxmemory", 1)
    for _ in range(2):
        assert model.invoke("hi").content == "hello"
    assert len([record for record in caplog.records if "not stored" in record.message]) == 1
    server.client.config_set("maxmemory", 0)
    for _ in range(2):
        assert model.invoke("hi").content == "hello"
    assert server.stat("entries") == 1


# LangChain gives its warning once a process.
PROCESS = """
import sys, warnings
from chatcache.langchain import ChatcacheCache
from langchain_core.outputs import Generation
warnings.simplefilter("error")
cache = ChatcacheCache(sys.argv[1])
cache.update("hi", "model", [Generation(text="hello")])
print(cache.lookup("hi", "model")[0].text)
"""


def test_a_hit_gives_no_warning(server: Server, run: Callable[..., Script]) -> None:
    assert run(PROCESS, server.url).line() == "hello"


def test_a_prompt_may_be_long_and_have_half_a_character(cache: BaseCache) -> None:
    generations = [ChatGeneration(message=AIMessage(content="\ud83d"))]
    for prompt in ("ä" * 10_000_000, "\ud83d"):
        cache.update(prompt, "model", generations)
        assert cache.lookup(prompt, "model") == generations
