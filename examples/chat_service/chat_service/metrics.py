"""What /metrics tells: this service's own counters, those of all its processes together, and what Redis says."""

import os
from collections.abc import Iterable, Iterator, Mapping
from typing import Literal, get_args

from prometheus_client import REGISTRY, CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector

Source = Literal["l1", "l2", "stale", "model"]


def counter(name: str, what: str, label: str, values: Iterable[str]) -> Counter:
    """All its values count from 0 on: a rate does not see the first of what was not there before."""
    counted = Counter(name, what, [label])
    for value in values:
        counted.labels(value)
    return counted


ANSWERS = counter("chat_answers", "Answers by where they came from", "source", get_args(Source))
DEGRADED = counter(
    "chat_degraded",
    "Answers that the model gave because Redis could not help, by reason",
    "reason",
    ("down", "error", "busy"),
)
CACHE_ERRORS = counter(
    "chat_cache_errors", "Commands that failed at Redis", "operation", ("fetch", "set", "prompt")
)
MODEL_CALLS = Counter("chat_model_calls", "Calls of the model")
MODEL_ERRORS = Counter("chat_model_errors", "Calls of the model that failed")
MODEL_SECONDS = Histogram(
    "chat_model_seconds", "What a call of the model took", buckets=(0.1, 0.25, 0.5, 1, 2, 4, 8, 16)
)
INVALIDATIONS = Counter("chat_l1_invalidations", "Messages from Redis that answers in L1 are outdated")

# What CHATCACHE.STATS tells of this moment; all else it tells counts up.
GAUGES = (
    "leases",
    "waiters",
    "readers",
    "drafts",
    "timers",
    "pending-reclaim",
    "waiting-to-compress",
    "dictionaries",
    "entries",
    "personas",
    "users",
)
TIERS = ("msg", "persona", "session", "response")
# The lines of INFO that say whether the cache fits its server.
INFO_GAUGES = ("used_memory", "maxmemory", "connected_clients", "blocked_clients")
INFO_COUNTERS = ("evicted_keys", "expired_keys")


def exposition(stats: Mapping[str, int], info: Mapping[str, int]) -> bytes:
    """The text for Prometheus. Both mappings are empty while Redis is down."""
    registry = CollectorRegistry()
    if "PROMETHEUS_MULTIPROC_DIR" in os.environ:
        # Whichever process is asked adds up the files of all.
        MultiProcessCollector(registry)
    else:
        registry.register(REGISTRY)
    registry.register(RedisCollector(stats, info))
    return generate_latest(registry)


class RedisCollector(Collector):
    """`hits-persona` becomes chatcache_hits_persona_total, `entries` chatcache_entries; of INFO, redis_used_memory."""

    def __init__(self, stats: Mapping[str, int], info: Mapping[str, int]) -> None:
        self._stats = stats
        self._info = info

    def collect(self) -> Iterator[Metric]:
        yield GaugeMetricFamily(
            "chatcache_up", "Whether CHATCACHE.STATS was answered", int(bool(self._stats))
        )
        for field, value in self._stats.items():
            name = "chatcache_" + field.replace("-", "_")
            what = f"CHATCACHE.STATS {field}"
            if (
                any(gauge in field for gauge in GAUGES)
                and field not in ("leases-granted", "leases-ended", "leases-unshared")
                or "bytes" in field
            ):
                yield GaugeMetricFamily(name, what, value)
            else:
                yield CounterMetricFamily(name, what, value)
        for field in INFO_GAUGES:
            if field in self._info:
                yield GaugeMetricFamily(f"redis_{field}", f"INFO {field}", self._info[field])
        for field in INFO_COUNTERS:
            if field in self._info:
                yield CounterMetricFamily(f"redis_{field}", f"INFO {field}", self._info[field])
