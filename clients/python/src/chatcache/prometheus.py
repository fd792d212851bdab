"""Metrics for Prometheus, with the extra `prometheus`: what a cache does, and what its server counts."""

from collections.abc import Iterable, Iterator, Mapping
from weakref import WeakKeyDictionary

from prometheus_client import REGISTRY, CollectorRegistry, Counter, Histogram
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from chatcache.hooks import SOURCES, Hooks, Reason, Source
from chatcache.request import Request

SECONDS = (0.001, 0.005, 0.025, 0.1, 0.25, 0.5, 1, 2, 4, 8, 16)


class Series:
    """The time series of one registry and prefix."""

    def __init__(self, registry: CollectorRegistry, prefix: str) -> None:
        def counter(name: str, what: str, label: str, values: Iterable[str]) -> Counter:
            """All values count from 0 on: a rate does not see the first of what was not there before."""
            counted = Counter(f"{prefix}_{name}", what, [label], registry=registry)
            for value in values:
                counted.labels(value)
            return counted

        def seconds(name: str, what: str, labels: tuple[str, ...] = ()) -> Histogram:
            return Histogram(f"{prefix}_{name}_seconds", what, labels, buckets=SECONDS, registry=registry)

        self.responses = counter("responses", "Responses by source", "source", SOURCES)
        self.degraded = counter(
            "degraded", "Responses without a lease, by reason", "reason", ("down", "busy", "refused")
        )
        operations = ("fetch", "append", "set", "release", "get", "decode")
        self.failures = counter("failures", "Commands that failed at Redis", "operation", operations)
        self.seconds = seconds("response", "Time to a whole response, by source", ("source",))
        self.first = seconds("first_piece", "Time to the first piece of a stream, by source", ("source",))
        self.compute = seconds("compute", "Time of a model call")
        self.errors = Counter(f"{prefix}_compute_errors", "Model calls that failed", registry=registry)
        self.invalidations = Counter(
            f"{prefix}_invalidations",
            "Messages from Redis that responses in memory are outdated",
            registry=registry,
        )


# Registries do not tell what they hold. All hooks of a registry and prefix count in the same series.
SERIES: WeakKeyDictionary[CollectorRegistry, dict[str, Series]] = WeakKeyDictionary()


class PrometheusHooks(Hooks):
    """Counts what a cache does, as `<prefix>_responses_total{source}` and so on. Several caches may count together."""

    def __init__(self, registry: CollectorRegistry = REGISTRY, prefix: str = "chatcache_client") -> None:
        of_registry = SERIES.setdefault(registry, {})
        if prefix not in of_registry:
            of_registry[prefix] = Series(registry, prefix)
        self._series = of_registry[prefix]

    def answered(self, request: Request, source: Source, seconds: float) -> None:
        self._series.responses.labels(source).inc()
        self._series.seconds.labels(source).observe(seconds)

    def first_piece(self, request: Request, source: Source, seconds: float) -> None:
        self._series.first.labels(source).observe(seconds)

    def computed(self, request: Request, seconds: float, error: BaseException | None) -> None:
        self._series.compute.observe(seconds)
        if error is not None:
            self._series.errors.inc()

    def degraded(self, reason: Reason) -> None:
        self._series.degraded.labels(reason).inc()

    def failed(self, operation: str, error: BaseException) -> None:
        self._series.failures.labels(operation).inc()

    def invalidated(self) -> None:
        self._series.invalidations.inc()


# Fields of CHATCACHE.STATS that tell the present; all others count up.
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
# Lines of INFO that say whether the cache fits its server.
INFO_GAUGES = ("used_memory", "maxmemory", "connected_clients", "blocked_clients")
INFO_COUNTERS = ("evicted_keys", "expired_keys")


class ServerCollector(Collector):
    """The counters of CHATCACHE.STATS and some lines of INFO; both mappings are empty if the server is down.

    `hits-persona` becomes chatcache_hits_persona_total, `entries` chatcache_entries; of INFO, redis_used_memory.
    """

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
            counts_up = field in ("leases-granted", "leases-ended", "leases-unshared")
            if any(gauge in field for gauge in GAUGES) and not counts_up or "bytes" in field:
                yield GaugeMetricFamily(name, what, value)
            else:
                yield CounterMetricFamily(name, what, value)
        for field in INFO_GAUGES:
            if field in self._info:
                yield GaugeMetricFamily(f"redis_{field}", f"INFO {field}", self._info[field])
        for field in INFO_COUNTERS:
            if field in self._info:
                yield CounterMetricFamily(f"redis_{field}", f"INFO {field}", self._info[field])
