"""The model, which is asked if no response is cached.

`Model` is where your provider's client goes; `StandInModel` only takes as long as one.
"""

import asyncio
import math
import random
from collections.abc import AsyncIterator
from statistics import NormalDist
from typing import Protocol


class ModelError(Exception):
    """The model gave no response."""


class Model(Protocol):
    def stream(self, prompt: str, message: str) -> AsyncIterator[str]:
        """The response, piece by piece as it comes. Raises ModelError."""
        ...


class StandInModel:
    """Says which prompt it was given, after a time drawn from a log-normal distribution with this p95 and p99."""

    words = ("This ", "is ", "the ", "stand-in's ", "response, ", "word ", "by ", "word.")

    def __init__(self, p95_s: float = 1.8, p99_s: float = 4.2) -> None:
        normal = NormalDist()
        z95, z99 = normal.inv_cdf(0.95), normal.inv_cdf(0.99)
        self._sigma = (math.log(p99_s) - math.log(p95_s)) / (z99 - z95)
        self._mu = math.log(p95_s) - self._sigma * z95
        self._random = random.Random()

    def deviation(self, prompt: str, message: str) -> float:
        """How slow this call is, in standard deviations."""
        return self._random.gauss()

    async def stream(self, prompt: str, message: str) -> AsyncIterator[str]:
        seconds = math.exp(self._mu + self._sigma * self.deviation(prompt, message))
        pieces = [f"[{prompt}] ", *self.words]
        for piece in pieces:
            await asyncio.sleep(seconds / len(pieces))
            yield piece
