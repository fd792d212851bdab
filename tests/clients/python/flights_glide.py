"""The flights of tests/clients/README.md with valkey-glide: REDIS_PORT=6379 python flights_glide.py

A GlideClient sends the commands of all callers on one connection, where a FETCH that waits would hold up all
others. Its time-out of 250 ms would also end the wait. So each caller that may wait has a client of its own, with a
time-out longer than the wait.
"""

import asyncio
import os
import time
from contextlib import asynccontextmanager

from glide import GlideClient, GlideClientConfiguration, GlideError, NodeAddress

WAIT = 20_000  # ms for the response of another caller
TIMEOUT = 1_000  # ms for any other reply


async def connect(timeout):
    address = NodeAddress("127.0.0.1", int(os.environ["REDIS_PORT"]))
    return await GlideClient.create(GlideClientConfiguration([address], request_timeout=timeout))


idle = []


@asynccontextmanager
async def own_client():
    """A client for one caller at a time. After an error it is closed, which ends its lease."""
    own = idle.pop() if idle else await connect(WAIT + TIMEOUT)
    try:
        # A client that lost its server tries to connect for its whole time-out. That is too long for a caller.
        await asyncio.wait_for(own.ping(), TIMEOUT / 1000)
        yield own
    except BaseException:
        await own.close()
        raise
    idle.append(own)


async def chatcache(own, command, *args):
    return await own.custom_command([f"CHATCACHE.{command}", *args])


async def fetch(own, request, *options):
    state, response, token, number = await chatcache(own, "FETCH", *request, "WAIT", str(WAIT), *options)
    return state.decode(), response, token, number


async def get_or_compute(request, compute):
    """Returns the response as bytes, computed by one caller of all processes.

    `compute` needs a time-out shorter than the lease (chatcache.lease-ms, 30 s).
    """
    computing = None

    def model():
        nonlocal computing
        computing = computing or asyncio.ensure_future(compute())
        return computing

    try:
        async with own_client() as own:
            state, response, token, _ = await fetch(own, request)
            if state == "busy":  # another caller takes longer than the wait
                return await model()
            if token is None:  # hit, or stale while another caller refreshes it
                return response
            try:
                computed = await model()
            except Exception:
                # The next waiter computes.
                await chatcache(own, "RELEASE", *request, "TOKEN", token)
                if state == "stale":
                    return response
                raise
            # Stores nothing and returns None if the lease is void by now, as after INVALIDATE.
            await chatcache(own, "SET", *request, computed, "TOKEN", token)
            return computed
    except (GlideError, asyncio.TimeoutError) as error:
        # The server is down. An error of the model's own is raised again.
        print(repr(error))
        return await model()


class Lost(Exception):
    """The pieces yielded so far are void: clear them, and call stream again."""


async def stream(request, compute):
    """Yields the response piece by piece: the stored one, that of a caller who computes it now, or its own."""
    async with own_client() as own:
        position = ()
        while True:
            state, text, token, number = await fetch(own, request, "STREAM", *position)
            if state == "lease" or (state == "stale" and token):
                # A caller that is gone closes its client, and the next waiter computes.
                async for piece in compute():
                    await chatcache(own, "APPEND", *request, piece, "TOKEN", token)
                    yield piece
                await chatcache(own, "COMMIT", *request, "TOKEN", token)
                return
            if state == "lost":
                raise Lost
            if text:
                yield text
            if state == "part":
                position = ("FROM", token, str(number))
            elif state != "busy":  # hit, stale or rest. After busy, FETCH asks for the same again
                return


async def flights(shared):
    question = ("persona", "ann", "helper", "What is 6 * 7?")
    calls = 0

    async def until(gauge, value):
        """Returns when the server's gauge has this value. The shared client answers while others wait."""
        deadline = time.monotonic() + 10
        while (await chatcache(shared, "STATS"))[gauge.encode()] != value:
            assert time.monotonic() < deadline, f"{gauge} is not {value}"
            await asyncio.sleep(0.001)

    # Two callers at once: one computes, the other waits for its response.
    async def answer():
        nonlocal calls
        calls += 1
        await until("waiters", 1)
        return b"42"

    responses = await asyncio.gather(*(get_or_compute(question, answer) for _ in range(2)))
    assert (responses, calls) == ([b"42", b"42"], 1), (responses, calls)

    # The model fails: the waiter computes.
    async def fail_once():
        nonlocal calls
        calls += 1
        if calls > 1:
            return b"54"
        await until("waiters", 1)
        raise ValueError("the model failed")

    calls, failing = 0, ("persona", "ann", "helper", "And 6 * 9?")
    results = await asyncio.gather(
        *(get_or_compute(failing, fail_once) for _ in range(2)), return_exceptions=True
    )
    assert sorted(map(str, results)) == ["b'54'", "the model failed"] and calls == 2, (results, calls)

    # A stream: the other caller reads along.
    async def pieces():
        nonlocal calls
        calls += 1
        yield b"Nodes "
        await until("readers", 1)
        yield b"with "
        yield b"children."

    async def listen():
        tree = ("persona", "ann", "helper", "What is a tree?")
        return b"".join([piece async for piece in stream(tree, pieces)])

    calls = 0
    texts = await asyncio.gather(listen(), listen())
    assert (texts, calls) == ([b"Nodes with children."] * 2, 1), (texts, calls)

    # The prompt changes.
    assert await chatcache(shared, "INVALIDATE", "helper") == 3

    async def anew():
        return b"forty-two"

    assert await get_or_compute(question, anew) == b"forty-two"


async def main():
    shared = await connect(TIMEOUT)
    await flights(shared)
    for own in (shared, *idle):
        await own.close()


asyncio.run(main())
