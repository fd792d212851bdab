"""The page at `/`, in a real browser."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.browser import Browser, Tab
from tests.servers import Service, until

pytestmark = pytest.mark.skipif(
    not shutil.which("chromedriver"), reason="no browser: Debian's chromium and chromium-driver"
)


@pytest.fixture
def browser(tmp_path: Path) -> Iterator[Browser]:
    browser = Browser(tmp_path)
    yield browser
    browser.close()


def ask(tab: Tab, message: str = "slow") -> None:
    tab.fill("message", message)
    tab.click("#ask button")


def is_done(tab: Tab) -> bool:
    return bool(tab.script("return document.querySelector('#asked > div')?.dataset.done === 'yes'"))


def test_two_tabs_on_two_processes_stream_for_one_model_call(
    start: Callable[..., Service], browser: Browser, tmp_path: Path
) -> None:
    services = [start(), start()]
    one, two = (browser.open(f"http://127.0.0.1:{service.port}/") for service in services)
    ask(one)
    until("the model talks", lambda: one.text(".said").startswith("[You are helper.]"))
    ask(two)
    until("the second tab reads along", lambda: two.text(".said").startswith("[You are helper.]"))
    for tab in (one, two):
        until("the response is there", lambda tab=tab: is_done(tab))  # type: ignore[misc]
    assert one.text(".said") == two.text(".said") != ""
    assert (one.text("#asked .tag"), two.text("#asked .tag")) == ("from the model", "reading along")
    assert [service.model_calls for service in services] == [1, 0]

    ask(two)
    until(
        "it is found",
        lambda: is_done(two) and two.text("#asked .tag") in ("from Redis", "from this process's memory"),
    )
    assert "first word after" in two.text("#asked > div")
    until("the counters show it", lambda: "1model calls" in one.text("#counters"))

    two.fill("prompt", "You are a poet.")
    two.click("#change")
    until("it is told", lambda: two.text("#told") == "invalidated: 1 responses")
    ask(one)
    until("the new prompt talks", lambda: one.text(".said").startswith("[You are a poet.]"))
    until("the response is there", lambda: is_done(one))
    one.click("#forget")
    until("it is told", lambda: one.text("#told") == "forgotten: 1 responses")
    one.click("#deploy")
    until("it is told", lambda: one.text("#told") == "invalidated: 0 responses")
    two.screenshot(tmp_path / "page.png")
