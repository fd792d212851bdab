"""The figures of all runs, held against the goals: Markdown, JSON and a drawing."""

import json
import os
from dataclasses import dataclass
from pathlib import Path

import matplotlib

from load import Seen
from workload import Plan

matplotlib.use("svg")
import matplotlib.pyplot as plt

NAMES = {
    "none": "no cache",
    "guide": "the guide's CacheManager",
    "mended": "the same, pattern mended",
    "getset": "chatcache, GET and SET",
    "fetch": "chatcache, FETCH and L1",
    "shared": "the same, a persona's responses for all",
    "streamed": "the same, streamed",
}

# What is held against the goals.
OURS = ("shared", "fetch")


def at(times: list[float], share: float) -> float:
    ordered = sorted(times)
    return ordered[min(int(len(ordered) * share), len(ordered) - 1)]


@dataclass
class Figures:
    seen: Seen
    plan: Plan

    def latency(self, share: float) -> float:
        return at(self.seen.latencies, share)

    def first_word(self, share: float) -> float:
        return at(self.seen.first_words, share)

    @property
    def responses(self) -> int:
        return len(self.seen.latencies)

    @property
    def throughput(self) -> float:
        return self.seen.in_time / self.plan.seconds

    @property
    def calls_per_1000(self) -> float:
        return self.seen.model_calls / self.responses * 1_000

    @property
    def wrong(self) -> int:
        return self.seen.outdated + self.seen.other_persona + self.seen.unprompted

    def share(self, source: str) -> float:
        return self.seen.sources.get(source, 0) / self.responses

    def as_json(self) -> dict[str, object]:
        seen = self.seen
        return {
            "responses": self.responses,
            "errors": seen.errors,
            "p50_ms": self.latency(0.5) * 1e3,
            "p95_ms": self.latency(0.95) * 1e3,
            "p99_ms": self.latency(0.99) * 1e3,
            "first_word_p50_ms": self.first_word(0.5) * 1e3,
            "first_word_p95_ms": self.first_word(0.95) * 1e3,
            "first_word_p99_ms": self.first_word(0.99) * 1e3,
            "responses_per_second": self.throughput,
            "model_calls": seen.model_calls,
            "model_calls_per_1000_responses": self.calls_per_1000,
            "share_by_source": {
                source: self.share(source)
                for source in ("local", "hit", "stale", "shared", "computed", "uncached")
            },
            "wrong_outdated": seen.outdated,
            "wrong_outdated_for_at_most_s": seen.outdated_for,
            "wrong_other_persona": seen.other_persona,
            "wrong_without_the_prompt": seen.unprompted,
            "update_ms": [took * 1e3 for took in seen.update_took],
            "deploy_ms": [took * 1e3 for took in seen.deploy_took],
            "generator_cpu_share": seen.generator_cpu,
            "generator_lag_p99_ms": seen.generator_lag * 1e3,
        }


@dataclass
class Goal:
    what: str
    figure: str
    met: bool


def goals(runs: dict[str, Figures], way: str) -> list[Goal]:
    if not {"none", "guide", way} <= runs.keys():
        return []
    none, guide, ours = runs["none"], runs["guide"], runs[way]

    def at_most(what: str, value: float, limit: float) -> Goal:
        return Goal(f"{what}: at most {limit}", f"{value:.3f}", value <= limit)

    def below(what: str, value: float) -> Goal:
        return Goal(f"{what}: below 1", f"{value:.3f}", value < 1)

    faster = ours.throughput / none.throughput
    return [
        at_most("p95, of no cache's", ours.latency(0.95) / none.latency(0.95), 0.5),
        at_most("p99, of no cache's", ours.latency(0.99) / none.latency(0.99), 0.5),
        below("p95, of the guide's", ours.latency(0.95) / guide.latency(0.95)),
        below("p99, of the guide's", ours.latency(0.99) / guide.latency(0.99)),
        at_most(
            "model calls for as many responses, of the guide's",
            ours.calls_per_1000 / guide.calls_per_1000,
            0.75,
        ),
        Goal(f"wrong responses (the guide's: {guide.wrong}): 0", str(ours.wrong), ours.wrong == 0),
        Goal("throughput, of no cache's: at least 1.25", f"{faster:.2f}", faster >= 1.25),
    ]


def write(runs: dict[str, Figures], plan: Plan, head: str, directory: Path) -> str:
    """Writes chat.md, chat.json and chat.svg, and gives the Markdown."""
    directory.mkdir(parents=True, exist_ok=True)
    text = f"# The chat service, before and after\n\n{head}\n\n{table(runs)}\n{goal_table(runs)}\n{explained(plan)}"
    (directory / "chat.md").write_text(text)
    told = {
        "machine": head,
        "plan": plan.__dict__,
        "ways": {way: figures.as_json() for way, figures in runs.items()},
        "goals": {way: [goal.__dict__ for goal in goals(runs, way)] for way in OURS},
    }
    (directory / "chat.json").write_text(json.dumps(told, indent=1) + "\n")
    draw(runs, plan, directory / "chat.svg")
    return text


def table(runs: dict[str, Figures]) -> str:
    rows: list[tuple[str, list[str]]] = [
        ("p50, ms", [f"{f.latency(0.5) * 1e3:.1f}" for f in runs.values()]),
        ("p95, ms", [f"{f.latency(0.95) * 1e3:.0f}" for f in runs.values()]),
        ("p99, ms", [f"{f.latency(0.99) * 1e3:.0f}" for f in runs.values()]),
        ("time to the first word, p50, ms", [f"{f.first_word(0.5) * 1e3:.1f}" for f in runs.values()]),
        ("p95, ms", [f"{f.first_word(0.95) * 1e3:.0f}" for f in runs.values()]),
        ("p99, ms", [f"{f.first_word(0.99) * 1e3:.0f}" for f in runs.values()]),
        ("responses a second", [f"{f.throughput:.0f}" for f in runs.values()]),
        ("responses", [str(f.responses) for f in runs.values()]),
        ("model calls", [str(f.seen.model_calls) for f in runs.values()]),
        ("model calls for 1,000 responses", [f"{f.calls_per_1000:.0f}" for f in runs.values()]),
        ("from L1", [f"{f.share('local'):.1%}" for f in runs.values()]),
        ("from Redis", [f"{f.share('hit'):.1%}" for f in runs.values()]),
        ("from Redis, stale", [f"{f.share('stale'):.1%}" for f in runs.values()]),
        ("of another caller's call", [f"{f.share('shared'):.1%}" for f in runs.values()]),
        (
            "of a call of their own",
            [f"{f.share('computed') + f.share('uncached'):.1%}" for f in runs.values()],
        ),
        ("wrong: made with an old prompt", [str(f.seen.outdated) for f in runs.values()]),
        ("so long after the change was confirmed, s", [f"{f.seen.outdated_for:.2f}" for f in runs.values()]),
        ("wrong: another persona's", [str(f.seen.other_persona) for f in runs.values()]),
        ("wrong: made without the prompt", [str(f.seen.unprompted) for f in runs.values()]),
        ("a prompt's change took, ms: median (most)", [times(f.seen.update_took) for f in runs.values()]),
        ("a deployment took, ms: median (most)", [times(f.seen.deploy_took) for f in runs.values()]),
        ("errors", [str(f.seen.errors) for f in runs.values()]),
        ("the load generator's share of a core", [f"{f.seen.generator_cpu:.0%}" for f in runs.values()]),
        ("and its lateness, p99, ms", [f"{f.seen.generator_lag * 1e3:.1f}" for f in runs.values()]),
    ]
    lines = [["", *(NAMES[way] for way in runs)], ["---"] * (len(runs) + 1)]
    lines += [[name, *cells] for name, cells in rows]
    return "".join("| " + " | ".join(line) + " |\n" for line in lines)


def times(seconds: list[float]) -> str:
    ordered = sorted(seconds)
    return f"{ordered[len(ordered) // 2] * 1e3:.0f} ({ordered[-1] * 1e3:.0f})" if ordered else "none"


def goal_table(runs: dict[str, Figures]) -> str:
    held = {NAMES[way]: found for way in OURS if (found := goals(runs, way))}
    lines = [["goal", *held], ["---"] * (len(held) + 1)]
    for rows in zip(*held.values(), strict=True):
        lines.append([rows[0].what, *(f"{goal.figure}, {'met' if goal.met else 'MISSED'}" for goal in rows)])
    return "".join("| " + " | ".join(line) + " |\n" for line in lines) if held else ""


def explained(plan: Plan) -> str:
    return f"""## How it was measured

Each way ran for {plan.seconds:.0f} s, from an empty cache, on the same schedule (seed {plan.seed}): {plan.connections} \
connections, each of which asks, reads the response, thinks ({plan.think} s on average) and asks again. So a way that \
responds sooner is asked more often, and model calls are compared for as many responses. {plan.prompts} prompts, chosen by \
Zipf with exponent {plan.zipf}; one in {plan.other_persona} questions goes to another persona than the prompt usually \
does. Every {plan.burst_every:.0f} s comes a burst: for {plan.burst_takes:.0f} s callers think half of the time, and \
{plan.burst_share:.0%} of questions go to {plan.burst_prompts} new prompts. Every {plan.update_every:.0f} s a persona's \
prompt changes; {plan.deployments} deployments invalidate all responses.

The model is a stand-in with the latency of the baseline, in real time: log-normal, p95 1.8 s, p99 4.2 s; of the spread \
{plan.question_share:.0%} is the question's own (what the lengths of real responses make it: workload.py), the rest is drawn \
for each call. Any number of calls run side by side. All else is a day in two minutes: the guide's hour is {plan.ttl} s, \
for all ways; chatcache with FETCH gives stale responses for a day, {plan.stale} s. Memory in the process (L1) keeps a response \
for {plan.l1_ttl:.0f} s, 1,000 at most, in the guide's ways and with FETCH.

The guide's keys hold the user, so {plan.users} users were taken: with so many its scheme does about what it reports of \
itself, and asks the model for some 60 % of the questions. All of chatcache but the last two columns keeps responses for each \
user and persona (tier `response`), which is like for like. The last two columns share a persona's responses among its users \
(tier `persona`): one word in the settings, for those services whose responses do not depend on the user, as here.

What to keep in mind. The schedule is invented, and it decides the outcome. Because responses expire so often here, more \
calls follow an expiry than in a real day. A scheme that never invalidates old responses, nor tells personas apart, needs fewer \
calls. Few of 20 users ask the same at the same time, so single flight has little to save in the like-for-like column. \
Others are a matter of --users, --question-share (0: drawn for each call, 1: for each question), --seed and workload.py.

All seven are the service of examples/chat_service (FastAPI, uvicorn, two processes) with another cache in it; the last \
three are that service as it stands. 100,000 other keys are in the same Redis, as there would be. The guide's scheme is written \
as its description says, with an asyncio client; where that is silent the kinder reading was taken: a process that clears \
a pattern clears its own memory too.

A response is wrong if it is another persona's, or if the service had confirmed a newer prompt before the question was \
asked. With chatcache's L1 that confirmation waits until all processes know, which is most of what a change takes there. An \
error is a call of the model that took more than 25 s.
"""


def draw(runs: dict[str, Figures], plan: Plan, path: Path) -> None:
    figure, ((latency, over_time), (calls, wrong)) = plt.subplots(2, 2, figsize=(13, 9), layout="constrained")
    names = [NAMES[way] for way in runs]
    places = range(len(runs))
    for offset, share in enumerate((0.5, 0.95, 0.99)):
        heights = [figures.latency(share) for figures in runs.values()]
        bars = latency.bar(
            [p + (offset - 1) * 0.27 for p in places], heights, 0.27, label=f"p{share * 100:.0f}"
        )
        latency.bar_label(bars, fmt=lambda height: f"{height * 1e3:.0f} ms", fontsize=6)
    latency.set_yscale("log")
    latency.set_ylabel("seconds")
    latency.set_title("Latency")
    latency.set_ylim(top=latency.get_ylim()[1] * 2)
    latency.legend(loc="upper center", ncols=3)
    for way, figures in runs.items():
        over_time.plot(*p95_by_second(figures.seen), label=NAMES[way], linewidth=1)
    over_time.set_title("p95 of every 3 seconds")
    over_time.set_xlabel("seconds into the run")
    over_time.set_ylabel("seconds")
    over_time.set_ylim(0, over_time.get_ylim()[1] * 1.35)
    over_time.legend(fontsize=7, loc="upper center", ncols=2)
    calls.bar_label(calls.bar(places, [figures.calls_per_1000 for figures in runs.values()]), fmt="%.0f")
    calls.set_title("Model calls for 1,000 responses")
    bottom = [figures.seen.outdated for figures in runs.values()]
    wrong.bar(places, bottom, label="made with an old prompt")
    other = [figures.seen.other_persona for figures in runs.values()]
    bars = wrong.bar(places, other, bottom=bottom, label="another persona's")
    wrong.bar_label(bars, [str(sum(both)) for both in zip(bottom, other, strict=True)])
    wrong.set_title("Wrong responses")
    wrong.legend()
    for axes in (latency, calls, wrong):
        axes.set_xticks(
            list(places), [name.replace(", ", ",\n").replace("'s ", "'s\n") for name in names], fontsize=8
        )
    figure.suptitle(f"A chat service, {plan.connections} connections, {plan.seconds:.0f} s each")
    figure.savefig(path)
    plt.close(figure)


def p95_by_second(seen: Seen) -> tuple[list[float], list[float]]:
    slots: dict[int, list[float]] = {}
    for asked_at, latency in zip(seen.asked_at, seen.latencies, strict=True):
        slots.setdefault(int(asked_at / 3), []).append(latency)
    times = sorted(slots)
    return [slot * 3 for slot in times], [sorted(slots[slot])[int(len(slots[slot]) * 0.95)] for slot in times]


def machine(server: str, prompts: str) -> str:
    load = " ".join(f"{part:.1f}" for part in os.getloadavg())
    return f"Redis {server}, {os.cpu_count()} CPUs, load before the run {load}; prompts: {prompts}."
