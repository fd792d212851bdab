"""Metrics for Prometheus of a Redis with chatcache: python dashboards/exporter.py redis://127.0.0.1:6379 9122

The /metrics of examples/chat_service have the same and more. The exporter needs redis-py and prometheus-client (Debian's
python3-redis and python3-prometheus-client). While the server is down it exports `chatcache_up 0`, and tries again at
each scrape.
"""

import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import redis
from prometheus_client import CollectorRegistry, start_http_server
from prometheus_client.core import Metric
from prometheus_client.registry import Collector

sys.path.append(str(Path(__file__).parent.parent / "clients" / "python" / "src"))

from chatcache.prometheus import ServerCollector  # noqa: E402


class Server(Collector):
    """Reads the server's counters for each scrape."""

    def __init__(self, url: str) -> None:
        self._redis = redis.Redis.from_url(url, decode_responses=True, socket_timeout=5)

    def collect(self) -> Iterator[Metric]:
        stats = self._fields("CHATCACHE.STATS")
        # A server that hangs costs one time-out, not two: Prometheus gives a scrape 10 seconds.
        info = self._fields("INFO") if stats else {}
        yield from ServerCollector(stats, info).collect()

    def _fields(self, command: str) -> dict[str, int]:
        """Returns the fields of a reply, or none if the server is down or the user lacks the right."""
        try:
            reply = self._redis.execute_command(command)
        except redis.RedisError as error:
            print(f"exporter: {command}: {error}", file=sys.stderr)
            return {}
        return reply if isinstance(reply, dict) else dict(zip(reply[::2], reply[1::2]))


def main() -> None:
    url = sys.argv[1] if len(sys.argv) > 1 else "redis://127.0.0.1:6379"
    port = int(sys.argv[2]) if len(sys.argv) > 2 else 9122
    registry = CollectorRegistry()
    registry.register(Server(url))
    start_http_server(port, addr="127.0.0.1", registry=registry)
    print(f"exporter: http://127.0.0.1:{port}/metrics", flush=True)
    threading.Event().wait()


if __name__ == "__main__":
    main()
