"""The cache for LangChain passes LangChain's own tests, in RESP2 and RESP3."""

from collections.abc import Iterator

import pytest

pytest.importorskip("langchain_tests")

from langchain_core.caches import BaseCache
from langchain_core.language_models import FakeListChatModel
from langchain_core.messages import AIMessage
from langchain_core.outputs import ChatGeneration
from langchain_tests.integration_tests import AsyncCacheTestSuite, SyncCacheTestSuite

from chatcache.langchain import ChatcacheCache, message
from tests.servers import Server

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
