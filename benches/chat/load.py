"""The load: connections, each a caller who asks, reads the response, thinks and asks again."""

import asyncio
import json
import re
import resource
import time
from dataclasses import dataclass, field

import aiohttp

from workload import PERSONAS, Change, Plan, Workload

# The stand-in model begins its response with the prompt that it was given, and here that names persona and version.
SAID = re.compile(r"\[(\w+) v(\d+)\]")


@dataclass
class Seen:
    """What one run has shown. Times are seconds since its beginning, latencies seconds."""

    # Responses that were there when the plan's time was over; of the others only the latency counts.
    in_time: int = 0
    latencies: list[float] = field(default_factory=list)
    # The time to the first word, which without streams comes with the last.
    first_words: list[float] = field(default_factory=list)
    # When each of them was asked.
    asked_at: list[float] = field(default_factory=list)
    sources: dict[str, int] = field(default_factory=dict)
    errors: int = 0
    # Responses made with a prompt that had been replaced, as the service had confirmed, before they were asked for.
    outdated: int = 0
    # The longest time from the confirmation to the question of such a response.
    outdated_for: float = 0
    other_persona: int = 0
    # Responses made with the service's default prompt, because it could not read the persona's own.
    unprompted: int = 0
    update_took: list[float] = field(default_factory=list)
    deploy_took: list[float] = field(default_factory=list)
    model_calls: int = 0
    # Of this process: its share of one core, and how late its event loop was, at the 99th percentile.
    generator_cpu: float = 0
    generator_lag: float = 0


class Versions:
    """Which version of each persona's prompt the service has confirmed, and when."""

    def __init__(self) -> None:
        self._issued = dict.fromkeys(PERSONAS, 0)
        self._confirmed = {persona: [(0.0, 0)] for persona in PERSONAS}

    def issue(self, persona: str) -> int:
        self._issued[persona] += 1
        return self._issued[persona]

    def confirm(self, persona: str, version: int, now: float) -> None:
        self._confirmed[persona].append((now, version))

    def outdated_since(self, persona: str, version: int, asked_at: float) -> float | None:
        """When a newer version was confirmed, if one was before the question was asked."""
        newer = [at for at, confirmed in self._confirmed[persona] if confirmed > version and at < asked_at]
        return min(newer, default=None)


class Run:
    def __init__(self, url: str, plan: Plan, workload: Workload, streams: bool) -> None:
        self._url, self._plan, self._workload, self._streams = url, plan, workload, streams
        self._versions = Versions()
        self._seen = Seen()
        self._began = 0.0

    async def go(self) -> Seen:
        timeout = aiohttp.ClientTimeout(total=120)
        async with aiohttp.ClientSession(
            self._url, connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=300), timeout=timeout
        ) as self._session:
            for persona in PERSONAS:
                await self._update(persona)
            self._seen.update_took.clear()
            calls = await self._model_calls()
            cpu = time.process_time()
            self._began = time.monotonic()
            lag = asyncio.create_task(self._lag())
            changes = [asyncio.create_task(self._change(change)) for change in self._workload.changes()]
            await asyncio.gather(*(self._call(number) for number in range(self._plan.connections)))
            self._seen.generator_cpu = (time.process_time() - cpu) / self._now()
            await asyncio.gather(*changes)
            self._seen.model_calls = await self._model_calls() - calls
            lag.cancel()
        return self._seen

    def _now(self) -> float:
        return time.monotonic() - self._began

    async def _call(self, number: int) -> None:
        caller, seen = self._workload.caller(number), self._seen
        # They do not all begin in the same moment.
        await asyncio.sleep(number / self._plan.connections * self._plan.think)
        while (asked_at := self._now()) < self._plan.seconds:
            question, think = caller.next(asked_at)
            body = {"user_id": question.user, "persona": question.persona, "message": question.message}
            try:
                response, source, first_at = await (self._stream if self._streams else self._ask)(body)
            except (aiohttp.ClientError, TimeoutError, KeyError):
                seen.errors += 1
                await asyncio.sleep(0.1)
                continue
            responded_at = self._now()
            seen.in_time += responded_at <= self._plan.seconds
            seen.latencies.append(responded_at - asked_at)
            seen.first_words.append(first_at - asked_at)
            seen.asked_at.append(asked_at)
            seen.sources[source] = seen.sources.get(source, 0) + 1
            self._judge(question.persona, response, asked_at)
            await asyncio.sleep(think)

    async def _ask(self, body: dict[str, str]) -> tuple[str, str, float]:
        """Returns the response, its source, and when its first word came."""
        async with self._session.post("/chat", json=body) as reply:
            told = await reply.json()
            return told["response"], told["source"], self._now()

    async def _stream(self, body: dict[str, str]) -> tuple[str, str, float]:
        response, source, first_at, event = "", "", 0.0, ""
        async with self._session.post("/chat/stream", json=body) as reply:
            async for raw in reply.content:
                name, _, text = raw.decode().strip().partition(": ")
                if not name:
                    event = ""
                elif name == "event":
                    event = text
                    if event == "restart":
                        response = ""
                elif name == "data" and event == "source":
                    source = json.loads(text)
                elif name == "data" and event == "error":
                    raise KeyError(text)
                elif name == "data" and not event:
                    first_at = first_at or self._now()
                    response += json.loads(text)
        return response, source, first_at

    def _judge(self, persona: str, response: str, asked_at: float) -> None:
        said = SAID.match(response)
        if said is None:
            self._seen.unprompted += 1
        elif said[1] != persona:
            self._seen.other_persona += 1
        elif (since := self._versions.outdated_since(persona, int(said[2]), asked_at)) is not None:
            self._seen.outdated += 1
            self._seen.outdated_for = max(self._seen.outdated_for, asked_at - since)

    async def _change(self, change: Change) -> None:
        await asyncio.sleep(change.at - self._now())
        if change.persona is not None:
            await self._update(change.persona)
            return
        began = time.monotonic()
        async with self._session.post("/deploy") as reply:
            reply.raise_for_status()
        self._seen.deploy_took.append(time.monotonic() - began)

    async def _update(self, persona: str) -> None:
        version = self._versions.issue(persona)
        began = time.monotonic()
        async with self._session.post(
            f"/personas/{persona}/prompt", json={"prompt": f"{persona} v{version}"}
        ) as reply:
            reply.raise_for_status()
        self._versions.confirm(persona, version, self._now() if self._began else 0.0)
        self._seen.update_took.append(time.monotonic() - began)

    async def _model_calls(self) -> int:
        async with self._session.get("/metrics") as reply:
            [calls] = re.findall(r"^chat_model_calls_total (\S+)$", await reply.text(), re.MULTILINE)
        return int(float(calls))

    async def _lag(self) -> None:
        late = []
        try:
            while True:
                due = time.monotonic() + 0.02
                await asyncio.sleep(0.02)
                late.append(time.monotonic() - due)
        finally:
            late.sort()
            self._seen.generator_lag = late[int(len(late) * 0.99)] if late else 0


def raise_file_limit() -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
