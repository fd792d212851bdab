"""Other processes that use the package."""

import os
import subprocess
import sys
from pathlib import Path

from chatcache.testing import Server, until

__all__ = ["MODULE", "Script", "Server", "until"]

ROOT = Path(__file__).resolve().parents[3]
MODULE = ROOT / "target/release/libchatcache.so"


class Script:
    """Another Python process that runs this code; its lines of output are read with `line`."""

    def __init__(self, code: str, *arguments: str) -> None:
        self._child = subprocess.Popen(
            [sys.executable, "-u", "-c", code, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": str(ROOT / "clients/python/src")},
        )

    def tell(self, line: str) -> None:
        assert self._child.stdin is not None
        self._child.stdin.write(f"{line}\n")
        self._child.stdin.flush()

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
        assert self._child.stdin is not None and self._child.stdout is not None
        self._child.stdin.close()
        self._child.stdout.close()
