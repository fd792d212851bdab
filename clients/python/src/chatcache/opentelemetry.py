"""Spans for OpenTelemetry, with the extra `opentelemetry`.

A caller's `chatcache.response` and a model's `chatcache.compute` are made when they end, with the time that they took,
as children of the span that is current then.
"""

import time
from typing import Any

from opentelemetry import trace
from opentelemetry.trace import StatusCode, Tracer

from chatcache.hooks import Hooks, Source
from chatcache.request import Request


class OpenTelemetryHooks(Hooks):
    def __init__(self, tracer: Tracer | None = None) -> None:
        self._tracer = tracer or trace.get_tracer("chatcache")

    def answered(self, request: Request, source: Source, seconds: float) -> None:
        self._span("chatcache.response", request, seconds, {"chatcache.source": source})

    def computed(self, request: Request, seconds: float, error: BaseException | None) -> None:
        self._span("chatcache.compute", request, seconds, {}, error)

    def failed(self, operation: str, error: BaseException) -> None:
        current = trace.get_current_span()
        current.add_event("chatcache.failed", {"chatcache.operation": operation, "error": str(error)})

    def _span(
        self,
        name: str,
        request: Request,
        seconds: float,
        attributes: dict[str, Any],
        error: BaseException | None = None,
    ) -> None:
        now = time.time_ns()
        # The persona, and neither the user nor the message: spans go to places that may not have these.
        named = {
            "chatcache.tier": request.tier,
            "chatcache.persona": request.persona.decode(errors="replace"),
            **attributes,
        }
        span = self._tracer.start_span(name, attributes=named, start_time=now - int(seconds * 1e9))
        if error is not None:
            span.set_status(StatusCode.ERROR, type(error).__name__)
        span.end(now)
