from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.servers import MODULE, Script, Server


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Leaves LiteLLM out of the fast tests: its import takes seconds."""
    is_fast = config.option.markexpr == "not slow"
    return True if is_fast and collection_path.name == "test_litellm.py" else None


@pytest.fixture
def server(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Server]:
    """A Redis with the module, and with the arguments that `pytest.mark.module` gives it."""
    mark = request.node.get_closest_marker("module")
    server = Server(tmp_path, *(mark.args if mark else ()), module=MODULE)
    yield server
    server.stop()


@pytest.fixture
def run() -> Iterator[Callable[..., Script]]:
    """Runs code in another process: run(code, argument)."""
    scripts: list[Script] = []

    def run(code: str, *arguments: str) -> Script:
        scripts.append(Script(code, *arguments))
        return scripts[-1]

    yield run
    for script in scripts:
        script.stop()
