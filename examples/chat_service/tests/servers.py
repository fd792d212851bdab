"""The service for a test, in any number of processes."""

import re
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote

import httpx
from chatcache import testing
from chatcache.testing import Process, Server, free_port

__all__ = ["MODULE", "Server", "Service", "until"]

T = TypeVar("T")

HERE = Path(__file__).resolve().parent.parent
CLIENT = HERE.parents[1] / "clients/python/src"
MODULE = HERE.parents[1] / "target/release/libchatcache.so"


def until(what: str, look: Callable[[], T | None], seconds: float = 30) -> T:
    return testing.until(what, look, seconds, httpx.HTTPError)


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
