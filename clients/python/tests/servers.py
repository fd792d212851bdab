"""A real server with the module, and other processes, for a test."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

T = TypeVar("T")

ROOT = Path(__file__).resolve().parents[3]
MODULE = Path(os.environ.get("CHATCACHE_MODULE", ROOT / "target/release/libchatcache.so"))


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def until(what: str, look: Callable[[], T | None], seconds: float = 30) -> T:
    """Returns what `look` returns once it is true; an error on the way counts as not yet."""
    end = time.monotonic() + seconds
    while True:
        last: object = None
        try:
            if seen := look():
                return seen
            last = seen
        except (redis.RedisError, AssertionError) as error:
            last = error
        assert time.monotonic() < end, f"{what}: not within {seconds} s; last: {last!r}"
        time.sleep(0.02)


class Server:
    def __init__(self, directory: Path, *module_arguments: str) -> None:
        self._directory, self._arguments = directory, module_arguments
        self.port = free_port()
        self.client = redis.Redis(port=self.port, retry=Retry(NoBackoff(), 0))
        self.start()

    def start(self) -> None:
        server = os.environ.get("CHATCACHE_SERVER", "redis-server")
        options = ["--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
        command = [server, *options, "--loadmodule", str(MODULE), *self._arguments]
        with (self._directory / "redis.log").open("ab") as log:
            self._child = subprocess.Popen(command, cwd=self._directory, stdout=log, stderr=log)
        until("Redis answers", self.client.ping)

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}"

    def run(self, *words: Any) -> Any:
        return self.client.execute_command(*words)

    def stat(self, name: str) -> int:
        stats = self.run("CHATCACHE.STATS")
        pairs = stats if isinstance(stats, dict) else dict(zip(stats[::2], stats[1::2], strict=True))
        return int(pairs[name.encode()])

    def calls(self, command: str) -> int:
        """Number of calls of a command since the server started."""
        stats = self.client.info("commandstats")
        return int(stats.get(f"cmdstat_{command}", {}).get("calls", 0))

    def send(self, number: signal.Signals) -> None:
        self._child.send_signal(number)

    def stop(self) -> None:
        self._child.send_signal(signal.SIGCONT)
        self._child.kill()
        self._child.wait()


class Script:
    """Another Python process that runs this code; its lines of output are read with `line`."""

    def __init__(self, code: str, *arguments: str) -> None:
        path = os.pathsep.join([str(ROOT / "clients/python/src"), str(ROOT / "clients/python")])
        self._child = subprocess.Popen(
            [sys.executable, "-u", "-c", code, *arguments],
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": path},
        )

    def line(self) -> str:
        assert self._child.stdout is not None
        return self._child.stdout.readline().strip()

    def lines(self) -> list[str]:
        assert self._child.stdout is not None
        return self._child.stdout.read().splitlines()

    def kill9(self) -> None:
        self._child.kill()
        self._child.wait()

    def stop(self) -> None:
        self.kill9()
        assert self._child.stdout is not None
        self._child.stdout.close()
