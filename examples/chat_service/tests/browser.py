"""A real browser for a test: chromium, through the WebDriver protocol of chromedriver."""

import base64
from pathlib import Path
from typing import Any

import httpx
from chatcache.testing import Process, free_port, until

OPTIONS = [
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--window-size=1000,900",
]


class Browser:
    """One driver; each tab is a session of its own."""

    def __init__(self, directory: Path) -> None:
        port = free_port()
        self._process = Process(["chromedriver", f"--port={port}"], directory)
        self._http = httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60)
        until(
            "chromedriver is up",
            lambda: self._http.get("/status").json()["value"]["ready"],
            30,
            httpx.HTTPError,
        )
        self._tabs: list[Tab] = []

    def open(self, url: str) -> "Tab":
        wanted = {"alwaysMatch": {"browserName": "chrome", "goog:chromeOptions": {"args": OPTIONS}}}
        reply = self._http.post("/session", json={"capabilities": wanted}).json()["value"]
        tab = Tab(self._http, f"/session/{reply['sessionId']}")
        self._tabs.append(tab)
        tab.post("/url", url=url)
        return tab

    def close(self) -> None:
        for tab in self._tabs:
            tab.close()
        self._process.stop()


class Tab:
    def __init__(self, http: httpx.Client, path: str) -> None:
        self._http, self._path = http, path

    def post(self, path: str, **body: Any) -> Any:
        reply = self._http.post(self._path + path, json=body)
        assert reply.status_code == 200, reply.text
        return reply.json()["value"]

    def script(self, code: str) -> Any:
        return self.post("/execute/sync", script=code, args=[])

    def text(self, selector: str) -> str:
        """The text of the first element, empty if there is none."""
        return str(self.script(f"return document.querySelector({selector!r})?.textContent ?? ''"))

    def fill(self, name: str, text: str) -> None:
        self.script(f"document.getElementById({name!r}).value = {text!r}")

    def click(self, selector: str) -> None:
        self.script(f"document.querySelector({selector!r}).click()")

    def screenshot(self, path: Path) -> None:
        path.write_bytes(base64.b64decode(self._http.get(self._path + "/screenshot").json()["value"]))

    def close(self) -> None:
        self._http.delete(self._path)
