"""Runs the same schedule against every way to respond: `make bench-chat`, or with options by ARGS='--seconds 20'."""

import argparse
import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import redis
import uvloop
from chatcache.testing import Process, Server, free_port, until

from load import Run, Seen, raise_file_limit
from report import NAMES, Figures, machine, write
from workload import Plan, Workload, real_prompts

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
SERVICE = ROOT / "examples/chat_service"
CLIENT = ROOT / "clients/python/src"
MODULE = ROOT / "target/release/libchatcache.so"
OTHER_KEYS = 100_000
PROCESSES = 2


def main() -> None:
    parser = argparse.ArgumentParser(prog="bench-chat")
    parser.add_argument("--seconds", type=float, default=120, help="of each way (120)")
    parser.add_argument(
        "--question-share", type=float, default=Plan.question_share, help="see workload.py (%(default)s)"
    )
    parser.add_argument(
        "--users", type=int, default=Plan.users, help="with responses of their own (%(default)s)"
    )
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--ways", nargs="+", choices=NAMES, default=list(NAMES))
    parser.add_argument("--out", type=Path, default=ROOT / "target/bench-chat")
    options = parser.parse_args()
    plan = Plan(options.seconds, options.seed, options.question_share, users=options.users)
    raise_file_limit()
    prompts, source = real_prompts(plan.prompts, plan.seed)
    head, runs = "", {}
    for way in options.ways:
        print(f"{NAMES[way]}: {plan.seconds:.0f} s", flush=True)
        with (
            tempfile.TemporaryDirectory(prefix="chatcache-bench-") as directory,
            redis_server(Path(directory), plan) as server,
        ):
            head = head or machine(str(server.info()["redis_version"]), source)
            runs[way] = Figures(measure(way, plan, Workload(plan, prompts), server, Path(directory)), plan)
    print("\n" + write(runs, plan, head, options.out))
    print(f"written to {options.out}: chat.md, chat.json, chat.svg")


def measure(way: str, plan: Plan, workload: Workload, server: redis.Redis, directory: Path) -> Seen:
    for start in range(0, OTHER_KEYS, 10_000):
        server.mset({f"app:session:{number}": "x" * 50 for number in range(start, start + 10_000)})
    port = server.connection_pool.connection_kwargs["port"]
    with service(way, plan, port, directory) as url:
        return uvloop.run(Run(url, plan, workload, streams=way == "streamed").go())


@contextmanager
def redis_server(directory: Path, plan: Plan) -> Iterator[redis.Redis]:
    ttls = ("ttl-response", str(plan.ttl), "ttl-persona", str(plan.ttl))
    server = Server(directory, *ttls, module=MODULE)
    try:
        yield server.client
    finally:
        server.stop()


@contextmanager
def service(way: str, plan: Plan, redis_port: int, directory: Path) -> Iterator[str]:
    port = free_port()
    metrics = directory / "metrics"
    metrics.mkdir()
    env = {
        "PYTHONPATH": os.pathsep.join([str(HERE), str(SERVICE), str(CLIENT)]),
        "PROMETHEUS_MULTIPROC_DIR": str(metrics),
        "BENCH_QUESTION_SHARE": str(plan.question_share),
        "BENCH_TTL_S": str(plan.ttl),
        "CHAT_REDIS_URL": f"redis://127.0.0.1:{redis_port}",
        # A machine at its limit is not to be taken for a Redis that is down.
        "CHAT_REDIS_TIMEOUT_S": "5",
        "CHAT_STALE_MS": str(plan.stale * 1_000),
        "CHAT_L1_TTL_S": str(plan.l1_ttl),
    }
    command = [sys.executable, "-m", "uvicorn", "--factory", f"ways:{way}", "--port", str(port)]
    command += ["--workers", str(PROCESSES), "--no-access-log"]
    process = Process(command, directory, **env)
    try:
        until("the service is up", lambda: process.log().count("startup complete") == PROCESSES, 60)
        yield f"http://127.0.0.1:{port}"
    except AssertionError as error:
        sys.exit(f"bench-chat: {error}\n{process.log()}")
    finally:
        process.stop()


if __name__ == "__main__":
    main()
