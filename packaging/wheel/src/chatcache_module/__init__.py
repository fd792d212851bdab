"""The Redis module chatcache, built for this platform."""

from pathlib import Path

__all__ = ["path"]


def path() -> Path:
    """Return the module's file, for `loadmodule`."""
    return Path(__file__).with_name("chatcache.so")
