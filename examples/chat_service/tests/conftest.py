from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.servers import MODULE, Server, Service


@pytest.fixture
def redis_server(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Server]:
    """A Redis with the module, and with the arguments that `pytest.mark.module` gives it."""
    mark = request.node.get_closest_marker("module")
    server = Server(tmp_path, *(mark.args if mark else ()), module=MODULE)
    yield server
    server.stop()


@pytest.fixture
def start(tmp_path: Path, redis_server: Server) -> Iterator[Callable[..., Service]]:
    """Starts the service: start(processes, setting="value")."""
    started: list[Service] = []

    def start(processes: int = 1, **settings: str) -> Service:
        service = Service(tmp_path / f"service{len(started)}", redis_server.url, processes, **settings)
        started.append(service)
        return service

    yield start
    for service in started:
        service.stop()
