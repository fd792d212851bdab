"""The session of tests/clients/README.md with redis-py's asyncio client, in RESP2 and in RESP3."""

import asyncio
import os

import redis
import redis.asyncio

ANSWER = "A sequence of elements."
ASK = ("response", "ann", "helper", "What is a list?")


async def session(r):
    assert await r.execute_command("CHATCACHE.GET", *ASK) is None
    assert await r.execute_command("CHATCACHE.SET", *ASK, ANSWER, "EX", 60) == "OK"
    assert await r.execute_command("CHATCACHE.SET", *ASK, "another", "NX") is None
    assert await r.execute_command("CHATCACHE.GET", "any", *ASK[1:]) == ANSWER
    key = await r.execute_command("CHATCACHE.KEY", *ASK)
    assert key == "response:ann:helper:8e9f78b31da43444756e562246131283"

    # Maps: a dict in RESP3, a flat list in RESP2.
    inspected = as_dict(await r.execute_command("CHATCACHE.INSPECT", *ASK))
    assert (inspected["key"], inspected["persona"], inspected["raw-bytes"]) == (key, "helper", len(ANSWER))
    assert as_dict(await r.execute_command("CHATCACHE.STATS", "helper"))["entries"] == 1
    cursor, personas = await r.execute_command("CHATCACHE.PERSONAS")
    assert cursor == "0" and [as_dict(persona)["name"] for persona in personas] == ["helper"]

    await a_crowd(r)

    try:
        await r.execute_command("CHATCACHE.GET", "nowhere", "ann", "helper", "hello")
        raise AssertionError("there is no tier nowhere")
    except redis.ResponseError as error:
        assert "msg, persona, session" in str(error), error

    async with r.pipeline(transaction=False) as pipe:
        for tier in ("msg", "session"):
            pipe.execute_command("CHATCACHE.SET", tier, "bob", "poet", "Hi", f"Hello from {tier}")
        pipe.execute_command("CHATCACHE.GET", "any", "bob", "poet", "Hi")
        assert await pipe.execute() == ["OK", "OK", "Hello from session"]

    assert await r.execute_command("CHATCACHE.DEL", "msg", "bob", "poet", "Hi") == 1
    assert await r.execute_command("CHATCACHE.FORGET", "bob") == 1
    assert await r.execute_command("CHATCACHE.SOFTINVALIDATE", "helper") == 2
    assert (await r.execute_command("CHATCACHE.FETCH", *ASK))[:2] == ["stale", ANSWER]
    assert await r.execute_command("CHATCACHE.INVALIDATE", "helper") == 2
    assert await r.execute_command("CHATCACHE.FLUSH", "msg", "persona") == 0
    assert (await r.execute_command("CHATCACHE.HELP"))[0].startswith("CHATCACHE")


async def a_crowd(r):
    """Ten tasks ask at once: one computes, the others wait for its answer."""
    asked = 0

    async def answer():
        nonlocal asked
        question = ("persona", "ann", "helper", "What is 6 * 7?")
        async with r.client() as own:
            kind, response, token, _ = await own.execute_command("CHATCACHE.FETCH", *question, "WAIT", 10_000)
            if kind == "hit":
                return response
            assert kind == "lease"
            asked += 1
            await asyncio.sleep(0.05)
            assert await own.execute_command("CHATCACHE.SET", *question, "42", "TOKEN", token) == "OK"
            return "42"

    assert await asyncio.gather(*(answer() for _ in range(10))) == ["42"] * 10
    assert asked == 1

    # A lease that is given back.
    question = ("persona", "ann", "helper", "And of life?")
    kind, _, token, _ = await r.execute_command("CHATCACHE.FETCH", *question)
    assert kind == "lease" and await r.execute_command("CHATCACHE.RELEASE", *question, "TOKEN", token) == 1


def as_dict(reply):
    return reply if isinstance(reply, dict) else dict(zip(reply[::2], reply[1::2]))


async def main():
    for protocol in (2, 3):
        port = int(os.environ["REDIS_PORT"])
        async with redis.asyncio.Redis(port=port, protocol=protocol, decode_responses=True) as r:
            await session(r)


asyncio.run(main())
