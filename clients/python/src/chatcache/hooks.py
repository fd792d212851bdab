"""Hooks: a subclass of `Hooks` is told what a cache does. `prometheus` and `opentelemetry` have one each."""

from typing import Literal

from chatcache.request import Request

# local: from this process's memory. hit: from Redis. stale: from Redis, past its TTL. computed: by this caller.
# shared: another caller computed it meanwhile. uncached: computed, and not to be stored.
Source = Literal["local", "hit", "stale", "computed", "shared", "uncached"]

SOURCES: tuple[Source, ...] = ("local", "hit", "stale", "computed", "shared", "uncached")

# Reasons of a response without a lease.
Reason = Literal["down", "busy", "refused"]


class Hooks:
    """Every method does nothing. A hook must not block and must not raise. Any thread may call it."""

    def answered(self, request: Request, source: Source, seconds: float) -> None:
        """A caller has its whole response, after `seconds`."""

    def first_piece(self, request: Request, source: Source, seconds: float) -> None:
        """A caller of `stream` has the first piece, after `seconds`."""

    def computed(self, request: Request, seconds: float, error: BaseException | None) -> None:
        """A call of `compute` has ended, with an error or without."""

    def degraded(self, reason: Reason) -> None:
        """A response is computed without a lease: Redis is down, or another caller takes longer than `wait` (busy).

        The third reason is for a service that goes on when Redis refuses its command.
        """

    def failed(self, operation: str, error: BaseException) -> None:
        """A command failed: the connection or a time-out, after which the cache goes on without, or a refusal."""

    def invalidated(self) -> None:
        """Redis has told `Local` of an invalidation."""
