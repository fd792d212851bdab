"""What can be set: each by an environment variable, CHAT_REDIS_URL and so on."""

from typing import Literal

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict


class Settings(BaseSettings):
    model_config = SettingsConfigDict(env_prefix="CHAT_")

    redis_url: str = "redis://127.0.0.1:6379"
    # The callers that share a response: all of a persona, or one user with one persona.
    tier: Literal["persona", "response"] = "response"
    # The time after its TTL for which a response is still given while a new one is computed.
    stale_ms: int = 600_000
    # The longest wait for another caller's response; then the model is asked once more: about the model's p90, as
    # a call that takes longer is an unusual one and another is likely to be sooner.
    wait_ms: int = 1_000
    # Redis' time to reply, beyond a wait that it was asked for.
    redis_timeout_s: float = 0.5
    # Of each process. A waiting request and one that computes hold a connection each.
    redis_connections: int = 1_000
    # The model is given up before its lease (lease_ms) ends.
    model_timeout_s: float = 25
    lease_ms: int = 30_000
    # The level in the process's memory: 0 items turns it off. It is used while Redis has confirmed, within
    # l1_lease_s, that nothing in it is outdated; a prompt's change takes that much longer.
    l1_items: int = 1_000
    l1_ttl_s: float = 10
    l1_lease_s: float = Field(default=0.2, gt=0)
