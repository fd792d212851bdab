"""Metrics and spans."""

from typing import Any

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from prometheus_client import CollectorRegistry, generate_latest

from chatcache import Cache
from chatcache.opentelemetry import OpenTelemetryHooks
from chatcache.prometheus import PrometheusHooks, ServerCollector
from tests.servers import Server

OF_ANN: dict[str, Any] = {"persona": "helper", "user": "ann"}


def broken() -> str:
    raise RuntimeError("the model failed")


def test_prometheus_counts_responses_and_failures(server: Server) -> None:
    registry = CollectorRegistry()
    with Cache(server.url, hooks=PrometheusHooks(registry)) as cache:

        def value(name: str, **labels: str) -> float | None:
            return registry.get_sample_value(f"chatcache_client_{name}", labels)

        assert value("responses_total", source="stale") == 0
        for _ in range(3):
            cache.get_or_compute(lambda: "said", "hi", **OF_ANN)
        list(cache.stream(lambda: iter("said"), "bye", **OF_ANN))
        with pytest.raises(RuntimeError):
            cache.get_or_compute(broken, "no", **OF_ANN)
        assert (value("responses_total", source="computed"), value("responses_total", source="hit")) == (2, 2)
        assert (value("compute_seconds_count"), value("compute_errors_total")) == (3, 1)
        assert value("first_piece_seconds_count", source="computed") == 1
        registry.register(ServerCollector(cache.stats(), {}))
        text = generate_latest(registry).decode()
        assert "chatcache_up 1.0" in text and "chatcache_sets_total 2.0" in text
        server.stop()
        cache.get_or_compute(lambda: "said", "hi", **OF_ANN)
        assert (value("degraded_total", reason="down"), value("failures_total", operation="fetch")) == (1, 1)


def test_two_hooks_of_prometheus_count_together() -> None:
    registry = CollectorRegistry()
    for hooks in (PrometheusHooks(registry), PrometheusHooks(registry)):
        hooks.degraded("down")
    PrometheusHooks(registry, "other")
    assert registry.get_sample_value("chatcache_client_degraded_total", {"reason": "down"}) == 2


def test_spans_tell_source_and_time(server: Server) -> None:
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    tracer = provider.get_tracer("test")
    with Cache(server.url, hooks=OpenTelemetryHooks(tracer)) as cache:
        with tracer.start_as_current_span("request"):
            cache.get_or_compute(lambda: "said", "hi", **OF_ANN)
        with pytest.raises(RuntimeError):
            cache.get_or_compute(broken, "no", **OF_ANN)
    spans = {span.name: span for span in exporter.get_finished_spans()[:3]}
    response, request = spans["chatcache.response"], spans["request"]
    assert response.attributes is not None and response.attributes["chatcache.source"] == "computed"
    assert response.parent is not None and response.parent.span_id == request.context.span_id
    assert spans["chatcache.compute"].attributes == {
        "chatcache.tier": "response",
        "chatcache.persona": "helper",
    }
    assert not exporter.get_finished_spans()[3].status.is_ok
