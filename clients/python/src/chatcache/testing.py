"""Servers for tests: a Redis with the module on a free port, and other processes. All are stopped by their pid."""

import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

T = TypeVar("T")


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def until(what: str, look: Callable[[], T | None], seconds: float = 30, *errors: type[Exception]) -> T:
    """Returns what `look` returns once it is true. Errors of Redis, assertions and `errors` count as not yet."""
    not_yet: tuple[type[Exception], ...] = (redis.RedisError, AssertionError, *errors)
    end = time.monotonic() + seconds
    while True:
        last: object = None
        try:
            if seen := look():
                return seen
            last = seen
        except not_yet as error:
            last = error
        assert time.monotonic() < end, f"{what}: not within {seconds} s; last: {last!r}"
        time.sleep(0.02)


class Process:
    """A process in a session of its own, whose output goes to a file of the directory."""

    def __init__(self, command: list[str], directory: Path, **env: str) -> None:
        self._path = directory / f"{Path(command[0]).name}.log"
        with self._path.open("ab") as log:
            self._child = subprocess.Popen(
                command,
                cwd=directory,
                env={**os.environ, **env},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def log(self) -> str:
        return self._path.read_text()

    def send(self, number: signal.Signals) -> None:
        self._child.send_signal(number)

    def stop(self) -> None:
        """Ends it as a supervisor would, with all its children, and raises if it does not end by itself."""
        if self._child.returncode is not None:
            return
        self._child.send_signal(signal.SIGCONT)
        self._child.terminate()
        try:
            self._child.wait(60)
        finally:
            with suppress(ProcessLookupError):
                os.killpg(self._child.pid, signal.SIGKILL)
            self._child.wait()


class Server:
    """A Redis with the module: `CHATCACHE_SERVER` (redis-server) is the server, `CHATCACHE_MODULE` or `module` its path."""

    def __init__(
        self, directory: Path, *arguments: str, module: Path | None = None, options: tuple[str, ...] = ()
    ) -> None:
        self._directory = directory
        path = os.environ.get("CHATCACHE_MODULE") or module
        assert path, "CHATCACHE_MODULE is the module's path"
        self.port = free_port()
        binary = os.environ.get("CHATCACHE_SERVER", "redis-server")
        usual = ("--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no")
        self._command = [binary, *usual, *options, "--loadmodule", str(path), *arguments]
        self.client = redis.Redis(port=self.port, retry=Retry(NoBackoff(), 0))
        self.start()

    def start(self) -> None:
        self.process = Process(self._command, self._directory)
        try:
            until("Redis is up", self.client.ping)
        except AssertionError:
            self.process.stop()
            raise AssertionError(f"Redis did not start:\n{self.process.log()}") from None

    def stop(self) -> None:
        self.process.stop()
        self.client.connection_pool.disconnect()

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}"

    def run(self, *words: Any) -> Any:
        return self.client.execute_command(*words)

    def stat(self, name: str) -> int:
        """A counter of CHATCACHE.STATS."""
        stats = self.run("CHATCACHE.STATS")
        pairs = stats if isinstance(stats, dict) else dict(zip(stats[::2], stats[1::2], strict=True))
        return int(pairs[name.encode()])

    def calls(self, command: str) -> int:
        """Number of calls of a command, in lower case, since the server started."""
        stats = self.client.info("commandstats")
        return int(stats.get(f"cmdstat_{command}", {}).get("calls", 0))
