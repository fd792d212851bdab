"""Real servers for a test: a Redis with the module, and the service in as many processes as are wanted."""

import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote

import httpx
import redis

T = TypeVar("T")

HERE = Path(__file__).resolve().parent.parent
CLIENT = HERE.parents[1] / "clients/python/src"
MODULE = Path(os.environ.get("CHATCACHE_MODULE", HERE.parents[1] / "target/release/libchatcache.so"))


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def until(what: str, look: Callable[[], T | None], seconds: float = 30) -> T:
    """What `look` gives once it is true; what it raises on the way counts as not yet."""
    end = time.monotonic() + seconds
    while True:
        last: object = None
        try:
            if seen := look():
                return seen
            last = seen
        except (redis.RedisError, httpx.HTTPError, AssertionError) as error:
            last = error
        assert time.monotonic() < end, f"{what}: not within {seconds} s; last: {last!r}"
        time.sleep(0.02)


class Process:
    def __init__(self, command: list[str], directory: Path, **env: str) -> None:
        self._log = directory / f"{Path(command[0]).name}.log"
        with self._log.open("ab") as log:
            self._child = subprocess.Popen(
                command,
                cwd=directory,
                env={**os.environ, **env},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    def log(self) -> str:
        return self._log.read_text()

    def send(self, number: signal.Signals) -> None:
        self._child.send_signal(number)

    def stop(self) -> None:
        """Ends it as a supervisor would, and fails if it does not end then."""
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


class RedisServer:
    def __init__(self, directory: Path, *module_arguments: str) -> None:
        self._directory = directory
        self._arguments = module_arguments
        self.port = free_port()
        self.client = redis.Redis(port=self.port, decode_responses=True, protocol=3)
        self.start()

    def start(self) -> None:
        server = os.environ.get("CHATCACHE_SERVER", "redis-server")
        options = ["--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
        command = [server, *options, "--loadmodule", str(MODULE), *self._arguments]
        self.process = Process(command, self._directory)
        until("Redis is up", self.client.ping)

    def stop(self) -> None:
        self.process.stop()

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}"


class Service:
    def __init__(self, directory: Path, redis_url: str, processes: int, **settings: str) -> None:
        self.port = free_port()
        metrics = directory / "metrics"
        metrics.mkdir(parents=True)
        command = [sys.executable, "-m", "uvicorn", "--factory", "tests.scripted:create_scripted_app"]
        command += ["--app-dir", str(HERE), "--port", str(self.port), "--workers", str(processes)]
        settings = {f"CHAT_{name.upper()}": value for name, value in settings.items()}
        env = {
            "PYTHONPATH": str(CLIENT),
            "CHAT_REDIS_URL": redis_url,
            "PROMETHEUS_MULTIPROC_DIR": str(metrics),
            **settings,
        }
        self.process = Process(command, directory, **env)
        until("all processes are up", lambda: self.process.log().count("startup complete") == processes)

    # A connection each, so that the processes share the requests.
    def post(self, path: str, **body: Any) -> httpx.Response:
        return httpx.post(f"http://127.0.0.1:{self.port}{path}", json=body, timeout=30)

    def ask(self, message: str, persona: str = "helper", user: str = "ann") -> tuple[str, str]:
        """The response and its source."""
        reply = self.post("/chat", user_id=user, persona=persona, message=message)
        assert reply.status_code == 200, reply.text
        return reply.json()["response"], reply.json()["source"]

    def ask_at_once(self, times: int, message: str) -> list[tuple[str, str]]:
        with ThreadPoolExecutor(times) as callers:
            return list(callers.map(lambda _: self.ask(message), range(times)))

    def stream(self, message: str) -> list[tuple[str, str]]:
        """Event names and data, as they came."""
        reply = self.post("/chat/stream", user_id="ann", persona="helper", message=message)
        assert reply.headers["content-type"].startswith("text/event-stream")
        events = re.split(r"\n\n", reply.text.strip())
        return [
            (
                (re.findall("^event: (.*)$", event, re.MULTILINE) or ["message"])[0],
                (re.findall("^data: (.*)$", event, re.MULTILINE) or [""])[0],
            )
            for event in events
        ]

    def prompt(self, prompt: str, persona: str = "helper", soft: bool = False) -> None:
        reply = self.post(f"/personas/{quote(persona, safe='')}/prompt", prompt=prompt, soft=soft)
        assert reply.status_code == 200, reply.text

    def forget(self, user: str) -> httpx.Response:
        return httpx.delete(f"http://127.0.0.1:{self.port}/users/{quote(user, safe='')}", timeout=30)

    def metrics(self) -> dict[str, float]:
        text = httpx.get(f"http://127.0.0.1:{self.port}/metrics", timeout=30).text
        lines = [line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#")]
        return {name: float(value) for name, value in lines}

    def metric(self, name: str) -> float:
        return self.metrics().get(name, 0)

    @property
    def model_calls(self) -> float:
        return self.metric("chat_model_calls_total")

    def stop(self) -> None:
        self.process.stop()
