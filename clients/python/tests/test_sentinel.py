"""A master that sentinels name, and the replica that they put in its place."""

import asyncio
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis

from chatcache import Answer, AsyncCache, Cache, Local
from chatcache.servers import sentinels_of
from chatcache.testing import Process, free_port
from tests.servers import MODULE, Server, until

OF_ANN: dict[str, Any] = {"persona": "helper", "user": "ann"}


class Watched:
    """A master, its replica and three sentinels, which call the master `answers`."""

    def __init__(self, directory: Path) -> None:
        self._stops: list[Any] = []
        try:
            self._start(directory)
        except BaseException:
            self.stop()
            raise

    def _start(self, directory: Path) -> None:
        def made(name: str) -> Path:
            (directory / name).mkdir()
            return directory / name

        self.master = Server(made("master"), module=MODULE)
        self._stops.append(self.master.stop)
        follow = ("--replicaof", f"127.0.0.1 {self.master.port}", "--repl-diskless-sync-delay", "0")
        self.replica = Server(made("replica"), module=MODULE, options=follow)
        self._stops.append(self.replica.stop)
        until("it follows", lambda: self.replica.client.info("replication")["master_link_status"] == "up")
        self.ports = [free_port() for _ in range(3)]
        for port in self.ports:
            conf = made(str(port)) / "sentinel.conf"
            conf.write_text(
                f"port {port}\nbind 127.0.0.1\n"
                f"sentinel monitor answers 127.0.0.1 {self.master.port} 2\n"
                "sentinel down-after-milliseconds answers 1000\nsentinel failover-timeout answers 5000\n"
            )
            self._stops.append(Process(["redis-server", str(conf), "--sentinel"], directory / str(port)).stop)
        for port in self.ports:
            until("they know each other", lambda: "slaves=1,sentinels=3" in self._told(port))  # noqa: B023

    def _told(self, port: int) -> str:
        with redis.Redis(port=port, decode_responses=True) as sentinel:
            master: dict[str, Any] = sentinel.info("sentinel")["master0"]
        return ",".join(f"{name}={value}" for name, value in master.items())

    @property
    def url(self) -> str:
        return f"redis+sentinel://{','.join(f'127.0.0.1:{port}' for port in self.ports)}/answers"

    def fail(self) -> None:
        """Kills the master."""
        self.master.process._child.kill()
        self.master.process._child.wait()

    def stop(self) -> None:
        for stop in reversed(self._stops):
            stop()


@pytest.fixture
def watched(tmp_path: Path) -> Iterator[Watched]:
    watched = Watched(tmp_path)
    yield watched
    watched.stop()


def test_a_url_names_the_sentinels_and_the_service() -> None:
    found = sentinels_of("redis+sentinel://ann:a%2Fb@one,[::1]:1/my%20master?db=2&health_check_interval=5")
    assert found is not None
    assert (found.hosts, found.service) == ([("one", 26379), ("::1", 1)], "my master")
    assert found.options == {"username": "ann", "password": "a/b", "db": 2, "health_check_interval": 5}
    assert sentinels_of("redis://one:1/0") is None
    for incomplete in (
        "redis+sentinel://one:1",
        "redis+sentinel:///answers",
        "redis+sentinel://a,,b/answers",
    ):
        with pytest.raises(ValueError, match="incomplete URL"):
            Cache(incomplete)
    with pytest.raises(ValueError, match="Local"):
        Cache("redis+sentinel://one/answers", local=Local())


@pytest.mark.slow
@pytest.mark.parametrize("protocol", [2, 3])
def test_threads_go_on_with_the_master_that_the_sentinels_choose(watched: Watched, protocol: int) -> None:
    url = watched.url.replace("//", "//127.0.0.1:1,")  # a sentinel that is gone
    with Cache(url, connection={"protocol": protocol}) as cache:

        def ask() -> Answer[str]:
            return cache.get_or_compute(lambda: "said", "hi", **OF_ANN)

        assert [ask().source for _ in range(2)] == ["computed", "hit"]
        assert list(cache.stream(lambda: iter(["a", "b"]), "letters", **OF_ANN)) == ["a", "b"]
        until("the replica has all", lambda: watched.replica.stat("entries") == 2)
        watched.fail()
        assert ask() == Answer("said", "uncached")
        until("the sentinels choose", lambda: watched.replica.client.role()[0] == b"master", 40)
        until("it is found", lambda: ask().source == "hit", 20)
        assert cache.invalidate("helper") == 2
        assert [ask().source for _ in range(2)] == ["computed", "hit"]
        # The old master comes back, and is not asked. The sentinels would make it a replica after some 8 s.
        watched.master.start()
        watched.master.run("REPLICAOF", "127.0.0.1", watched.replica.port)
        until("it follows", lambda: watched.master.client.info("replication")["master_link_status"] == "up")
        assert ask().source == "hit"
        assert cache.invalidate("helper") == 1


@pytest.mark.slow
def test_tasks_go_on_with_the_master_that_the_sentinels_choose(watched: Watched) -> None:
    async def story() -> None:
        async with AsyncCache(watched.url) as cache:

            async def compute() -> str:
                await asyncio.sleep(0.3)
                return "said"

            async def ask(_: int = 0) -> str:
                return (await cache.get_or_compute(compute, "hi", **OF_ANN)).source

            assert sorted(await asyncio.gather(*map(ask, range(10)))) == ["computed"] + ["shared"] * 9
            assert await ask() == "hit"
            watched.fail()
            assert await ask() == "uncached"
            ends_at = time.monotonic() + 40
            while await ask() == "uncached":
                assert time.monotonic() < ends_at
            assert await ask() == "hit"
            assert await cache.invalidate("helper") == 1

    asyncio.run(story())
