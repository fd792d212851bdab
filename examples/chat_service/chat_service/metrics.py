"""The lines of /metrics: this service's own counters, those of all its processes together, and those of Redis."""

import os
from collections.abc import Mapping

from chatcache.prometheus import PrometheusHooks, ServerCollector
from prometheus_client import REGISTRY, CollectorRegistry, Counter, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector

HOOKS = PrometheusHooks(prefix="chat")
MODEL_CALLS = Counter("chat_model_calls", "Calls of the model that were begun")


def exposition(stats: Mapping[str, int], info: Mapping[str, int]) -> bytes:
    """The text for Prometheus. Both mappings are empty while Redis is down."""
    registry = CollectorRegistry()
    if "PROMETHEUS_MULTIPROC_DIR" in os.environ:
        # Whichever process is asked adds up the files of all.
        MultiProcessCollector(registry)
    else:
        registry.register(REGISTRY)
    registry.register(ServerCollector(stats, info))
    return generate_latest(registry)
