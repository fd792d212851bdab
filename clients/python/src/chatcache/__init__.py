"""The client of chatcache, a Redis module that caches the responses of chat and LLM services.

`Cache` is for threads and `AsyncCache` for asyncio, with the same names. See README.md.
"""

from chatcache.aio import AsyncCache, AsyncStream
from chatcache.codecs import BYTES, JSON, TEXT, Codec, PydanticCodec, TextCodec
from chatcache.core import Answer
from chatcache.errors import NotStored, StreamLost
from chatcache.hooks import Hooks, Source
from chatcache.local import Local
from chatcache.request import Request, Tier, canonical
from chatcache.sync import Cache, Stream

__all__ = [
    "BYTES",
    "JSON",
    "TEXT",
    "Answer",
    "AsyncCache",
    "AsyncStream",
    "Cache",
    "Codec",
    "Hooks",
    "Local",
    "NotStored",
    "PydanticCodec",
    "Request",
    "Source",
    "Stream",
    "StreamLost",
    "TextCodec",
    "Tier",
    "canonical",
]
