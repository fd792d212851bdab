"""The memory of one process, its races one by one."""

import time

from chat_service.local import LocalCache, Request
from chat_service.settings import Settings

HI = Request("ann", "helper", "hi")


def confirmed(**settings: float) -> LocalCache:
    local = LocalCache(Settings(l1_lease_s=3600, **settings))  # type: ignore[arg-type]
    local.confirm(time.monotonic())
    return local


def test_an_answer_that_crossed_an_invalidation_is_not_kept() -> None:
    local = confirmed()
    asked_at = local.now()
    local.drop("helper")
    local.put(asked_at, HI, "old")
    assert local.get(HI) is None
    local.put(local.now(), HI, "new")
    assert local.get(HI) == "new"


def test_a_persona_goes_and_the_others_stay() -> None:
    local = confirmed()
    other = Request("ann", "poet", "hi")
    for request in (HI, other):
        local.put(local.now(), request, "answer")
    local.drop("helper")
    assert (local.get(HI), local.get(other)) == (None, "answer")
    local.clear()
    assert local.get(other) is None


def test_nothing_is_given_that_has_not_been_confirmed_of_late() -> None:
    local = LocalCache(Settings(l1_lease_s=10))
    local.put(local.now(), HI, "answer")
    assert local.get(HI) is None
    local.confirm(time.monotonic())
    assert local.get(HI) == "answer"
    local.confirm(time.monotonic() - 11)
    assert local.get(HI) is None


def test_it_holds_no_more_than_it_is_told_to() -> None:
    local = confirmed(l1_items=2)
    for number in range(3):
        local.put(local.now(), Request("ann", "helper", str(number)), "answer")
    kept = [local.get(Request("ann", "helper", str(number))) for number in range(3)]
    assert kept.count("answer") == 2
    long = "x" * 100_000
    for request, answer in [
        (HI, long),
        (Request(long, "helper", "hi"), "a"),
        (Request("ann", long, "hi"), "a"),
    ]:
        local.put(local.now(), request, answer)
        assert local.get(request) is None


def test_no_items_turn_it_off() -> None:
    local = confirmed(l1_items=0)
    local.put(local.now(), HI, "answer")
    assert local.get(HI) is None
