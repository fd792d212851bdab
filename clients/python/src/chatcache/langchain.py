"""A cache for LangChain, with the extra `langchain`: `set_llm_cache(ChatcacheCache("redis://127.0.0.1:6379"))`.

The namespace is the persona, so `clear` is one INVALIDATE. LangChain looks up and updates in two steps, so each caller that
misses calls the model: use `Cache.get_or_compute` around the call where one of them should do so. Its asynchronous methods
run in a thread, as LangChain's own caches do, so one cache serves any number of event loops.

A response that is lost costs a call of the model, an error costs its answer. So `update` raises nothing, and a response that
LangChain cannot read back is a miss.
"""

import hashlib
import logging
from collections.abc import Mapping, Sequence
from typing import Any

from langchain_core._api import suppress_langchain_beta_warning
from langchain_core.caches import BaseCache
from langchain_core.load import dumps, loads
from langchain_core.messages import (
    AIMessage,
    AIMessageChunk,
)
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, Generation, GenerationChunk
from redis.exceptions import RedisError

from chatcache.codecs import TEXT
from chatcache.sync import Cache

log = logging.getLogger("chatcache")

# The classes that a stored response may name: whoever can write to Redis can make no other objects here.
STORED = (AIMessage, AIMessageChunk, ChatGeneration, ChatGenerationChunk, Generation, GenerationChunk)


class Unreadable(Exception):
    """LangChain cannot read the text back."""


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
        self._is_refused = False

    def lookup(self, prompt: str, llm_string: str) -> Sequence[Generation] | None:
        answer = self._cache.get(message(prompt, llm_string), persona=self._namespace)
        try:
            return None if answer is None else read(answer.value)
        except Unreadable as error:
            log.debug("chatcache: a stored response is a miss: %s", error)
            return None

    def update(self, prompt: str, llm_string: str, return_val: Sequence[Generation]) -> None:
        try:
            self._cache.set(message(prompt, llm_string), written(return_val), persona=self._namespace)
        except (Unreadable, RedisError) as error:
            if not self._is_refused:  # the first of a series
                log.warning("chatcache: a response of LangChain is not stored: %s", error)
            self._is_refused = True
        else:
            self._is_refused = False

    def clear(self, **kwargs: Any) -> None:
        self._cache.invalidate(self._namespace)

    def close(self) -> None:
        self._cache.close()


def read(text: str) -> list[Generation]:
    try:
        with suppress_langchain_beta_warning():
            generations = loads(text, allowed_objects=STORED)
    except Exception as error:
        raise Unreadable(f"{type(error).__name__}: {str(error)[:200]}") from error
    if not isinstance(generations, list) or not all(isinstance(one, Generation) for one in generations):
        raise Unreadable("no list of generations")
    return generations


def written(generations: Sequence[Generation]) -> str:
    """Returns the text that `read` reads back. Objects and classes of the caller's own cannot be."""
    text = dumps(list(generations))
    read(text)
    return text


def message(prompt: str, llm_string: str) -> str:
    """The hash of the prompt and the model's parameters: both may be long, and have half a character."""
    texts = (hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest() for text in (llm_string, prompt))
    return hashlib.sha256(b"".join(texts)).hexdigest()
