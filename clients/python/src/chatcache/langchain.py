"""A cache for LangChain, with the extra `langchain`: `set_llm_cache(ChatcacheCache("redis://127.0.0.1:6379"))`.

The namespace is the persona, so `clear` is one INVALIDATE. LangChain looks up and updates in two steps, so each caller that
misses calls the model: use `Cache.get_or_compute` around the call where one of them should do so. Its asynchronous methods
run in a thread, as LangChain's own caches do, so one cache serves any number of event loops.
"""

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

from langchain_core.caches import BaseCache
from langchain_core.load import dumps, loads
from langchain_core.messages import (
    AIMessage,
    AIMessageChunk,
)
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, Generation, GenerationChunk

from chatcache.codecs import TEXT
from chatcache.sync import Cache

# The classes that a stored response may name: whoever can write to Redis can make no other objects here.
STORED = (AIMessage, AIMessageChunk, ChatGeneration, ChatGenerationChunk, Generation, GenerationChunk)


class ChatcacheCache(BaseCache):
    """`ttl` is in seconds; without it the server's setting of the tier `persona` holds."""

    def __init__(
        self,
        url: str = "redis://127.0.0.1:6379",
        *,
        namespace: str = "langchain",
        ttl: float | None = None,
        connection: Mapping[str, Any] | None = None,
    ) -> None:
        self._namespace = namespace
        self._cache = Cache(url, TEXT, tier="persona", ttl=ttl, connection=connection)

    def lookup(self, prompt: str, llm_string: str) -> Sequence[Generation] | None:
        answer = self._cache.get(message(prompt, llm_string), persona=self._namespace)
        return None if answer is None else list(loads(answer.value, allowed_objects=STORED))

    def update(self, prompt: str, llm_string: str, return_val: Sequence[Generation]) -> None:
        self._cache.set(message(prompt, llm_string), dumps(list(return_val)), persona=self._namespace)

    def clear(self, **kwargs: Any) -> None:
        self._cache.invalidate(self._namespace)

    def close(self) -> None:
        self._cache.close()


def message(prompt: str, llm_string: str) -> str:
    """The prompt behind the hash of the model's parameters, whose text can be 80 KB."""
    return f"{hashlib.sha256(llm_string.encode()).hexdigest()}\n{prompt}"
