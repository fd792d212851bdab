"""The URL of a cache: one server, or the master that sentinels name."""

from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote, urlsplit

from redis.connection import parse_url

SENTINEL = "redis+sentinel"


@dataclass(frozen=True)
class Sentinels:
    """`redis+sentinel://[user:password@]host[:port][,host[:port]]/service[?db=0]`, as the options of redis-py."""

    hosts: list[tuple[str, int]]
    service: str
    # Options of the connections to the master.
    options: dict[str, Any]


def sentinels_of(url: str) -> Sentinels | None:
    """Returns the sentinels of the URL, or None if it is one server's. Raises ValueError if the URL is incomplete."""
    parts = urlsplit(url)
    if parts.scheme != SENTINEL:
        return None
    credentials, at, hosts = parts.netloc.rpartition("@")
    service = unquote(parts.path.strip("/"))
    if not service or not all(hosts.split(",")):
        raise ValueError(f"incomplete URL: use {SENTINEL}://host:port,host:port/service")
    options: dict[str, Any] = dict(parse_url(f"redis://{credentials}{at}sentinels?{parts.query}"))
    del options["host"]
    return Sentinels([address(host) for host in hosts.split(",")], service, options)


def address(host: str) -> tuple[str, int]:
    """Returns the name and the port of a sentinel."""
    parts = urlsplit(f"//{host}")
    return parts.hostname or "localhost", parts.port or 26379
