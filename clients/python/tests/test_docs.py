"""The Python blocks of README.md and of the guide's page run."""

import asyncio
import re
from pathlib import Path
from typing import Any

import pytest

from tests.servers import ROOT, Server

PAGES = ["README.md", "clients/python/README.md", "docs/guide/clients.md"]


def blocks(path: Path) -> list[str]:
    return re.findall(r"^```python[^\n]*\n(.*?)^```", path.read_text(), re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("page", PAGES)
def test_the_blocks_of_a_page_run(server: Server, page: str, capsys: pytest.CaptureFixture[str]) -> None:
    calls: list[str] = []

    def ask_the_model(persona: str, message: str) -> str:
        calls.append(message)
        return f"{persona} says: 42"

    async def say() -> Any:
        yield "Nodes "
        yield "with children."

    names: dict[str, Any] = {"__name__": "page", "ask_the_model": ask_the_model, "say": say}
    found = blocks(ROOT / page)
    assert found
    for block in found:
        if "langchain" in block or "litellm" in block:  # whose own tests run it
            continue
        exec(block.replace("6379", str(server.port)), names)  # noqa: S102  that is the test
    assert [names["respond"]("ann", "helper", "hi") for _ in range(2)] == ["helper says: 42"] * 2
    assert calls == ["hi"]
    if "main" in names:
        asyncio.run(names["main"]())
        assert server.stat("entries") == 0
    if len(found) > 1:
        assert "with children." in capsys.readouterr().out
