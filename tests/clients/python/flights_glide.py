"""The flights of tests/clients/README.md with valkey-glide: REDIS_PORT=6379 python flights_glide.py

A GlideClient sends the commands of all callers on one connection, where a FETCH that waits would hold up all
others. Its time-out of 250 ms would also end the wait. So each caller that may wait has a client of its own, with a
time-out longer than the wait.
"""

import asyncio
import contextlib
import os
import time

from glide import GlideClient, GlideClientConfiguration, GlideError, NodeAddress

WAIT = 20_000  # ms for the response of another caller
TIMEOUT = 1_000  # ms for any other reply


async def connect(timeout):
    address = NodeAddress("127.0.0.1", int(os.environ["REDIS_PORT"]))
    return await GlideClient.create(GlideClientConfiguration([address], request_timeout=timeout))


async def chatcache(client, command, *args):
    return await client.custom_command([f"CHATCACHE.{command}", *args])


class Own:
    """A client for one caller at a time. It is closed after an error, which ends its lease."""

    def __init__(self, client):
        self.client = client

    async def send(self, timeout, command, *args):
        """Sends a command. Returns None after an error: the response does not depend on the server."""
        if self.client is None:
            return None
        try:
            return await asyncio.wait_for(chatcache(self.client, command, *args), timeout / 1000)
        except (GlideError, asyncio.TimeoutError) as error:
            print(command, repr(error))
            await self.close()
            return None

    async def fetch(self, request, *options):
        """Waits on this client. The state is "down" if the server is down or refuses the command."""
        reply = await self.send(WAIT + TIMEOUT, "FETCH", *request, "WAIT", str(WAIT), *options)
        state, response, token, number = reply or (b"down", None, None, None)
        return state.decode(), response, token, number

    async def close(self):
        if self.client:
            client, self.client = self.client, None
            await client.close()


idle = []


@contextlib.asynccontextmanager
async def own_client():
    """An idle client, or a new one. Without the server, all its replies are None."""
    own = idle.pop() if idle else Own(None)
    try:
        if own.client is None:
            own.client = await asyncio.wait_for(connect(WAIT + TIMEOUT), TIMEOUT / 1000)
        # A client that lost its server tries to connect for its whole time-out. That is too long for a caller.
        await asyncio.wait_for(own.client.ping(), TIMEOUT / 1000)
    except (GlideError, asyncio.TimeoutError) as error:
        print(repr(error))
        await own.close()
    try:
        yield own
    except BaseException:  # the model failed, or the caller is gone: the next waiter computes
        await own.close()
        raise
    if own.client:
        idle.append(own)


async def get_or_compute(request, compute):
    """Returns the response as bytes, computed by one caller of all processes.

    `compute` needs a time-out shorter than the lease (chatcache.lease-ms, 30 s).
    """
    async with own_client() as own:
        state, response, token, _ = await own.fetch(request)
        if state in ("down", "busy"):  # busy: another caller takes longer than the wait
            return await compute()
        if token is None:  # hit, or stale while another caller refreshes it
            return response
        try:
            computed = await compute()
        except Exception:
            if state == "lease":
                raise
            await own.close()  # the next waiter computes
            return response
        # Stores nothing if the lease is void by now, as after INVALIDATE.
        await own.send(TIMEOUT, "SET", *request, computed, "TOKEN", token)
        return computed


class Lost(Exception):
    """The pieces yielded so far are void: clear them, and call stream again."""


async def stream(request, compute):
    """Yields the response piece by piece: the stored one, that of a caller who computes it now, or its own."""
    async with own_client() as own:
        position = ()
        while True:
            state, text, token, number = await own.fetch(request, "STREAM", *position)
            if state == "lost" or (state == "down" and position):
                raise Lost
            if state in ("lease", "down"):
                async for piece in speak(own, request, token, compute):
                    yield piece
                return
            if text:
                yield text
            if state == "part":
                position = ("FROM", token, str(number))
            elif state != "busy":  # hit, stale or rest. After busy, FETCH asks for the same again
                if token:
                    await refresh(own, request, token, compute)
                return


async def speak(own, request, token, compute):
    """Yields the response, hands each piece to the readers, and stores it at the end.

    After an error of the server it only yields.
    """
    async for piece in compute():
        await own.send(TIMEOUT, "APPEND", *request, piece, "TOKEN", token)
        yield piece
    await own.send(TIMEOUT, "COMMIT", *request, "TOKEN", token)


async def refresh(own, request, token, compute):
    """The user has the stale response already: this one is for the readers and the cache."""
    try:
        async for _ in speak(own, request, token, compute):
            pass
    except Exception as error:  # noqa: BLE001  the model may raise anything
        print(repr(error))
        await own.close()  # the next waiter computes


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
        yield b""  # as models do
        yield b"Nodes "
        await until("readers", 1)
        yield b"with "
        yield b"children."

    calls = 0
    tree, whole = ("persona", "ann", "helper", "What is a tree?"), b"Nodes with children."
    texts = await asyncio.gather(*(listen(tree, pieces) for _ in range(2)))
    assert (texts, calls) == ([whole] * 2, 1), (texts, calls)

    # The prompt changes.
    assert await chatcache(shared, "INVALIDATE", "helper") == 3

    async def anew():
        return b"forty-two"

    assert await get_or_compute(question, anew) == b"forty-two"

    # The model fails to refresh a stale response.
    lists = ("persona", "ann", "helper", "What is a list?")
    maps = ("persona", "ann", "helper", "What is a map?")
    await chatcache(shared, "SET", *lists, b"A sequence.", "STALE", "60000")
    await chatcache(shared, "SOFTINVALIDATE", "helper")

    async def fail():
        raise ValueError("the model failed")

    async def break_off():
        yield b"Nodes "
        await fail()

    assert await get_or_compute(lists, fail) == b"A sequence."
    assert await listen(lists, break_off) == b"A sequence."

    # The server refuses to store.
    await shared.config_set({"maxmemory": "1"})
    assert await get_or_compute(lists, anew) == b"forty-two"
    assert await get_or_compute(maps, anew) == b"forty-two"
    assert await listen(tree, words) == whole
    await shared.config_set({"maxmemory": "0"})
    await until("leases", 0)

    # The server ends while three callers compute: each gets what its model says. A reader has a part that is void.
    async def end():
        yield b"Nodes "
        reader = asyncio.ensure_future(listen(tree, words))
        await until("readers", 1)
        with contextlib.suppress(GlideError):
            await shared.custom_command(["SHUTDOWN", "NOSAVE"])
        (lost,) = await asyncio.gather(reader, return_exceptions=True)
        assert isinstance(lost, Lost), lost
        yield b"with "
        yield b"children."

    async def refreshed():
        assert await listen(tree, end) == whole
        await fail()

    async def missed():
        nonlocal calls
        calls += 1
        assert await get_or_compute(lists, refreshed) == b"A sequence."
        await fail()

    calls = 0
    (failure,) = await asyncio.gather(get_or_compute(maps, missed), return_exceptions=True)
    assert (str(failure), calls) == ("the model failed", 1), (failure, calls)

    # The server is down.
    assert await get_or_compute(maps, anew) == b"forty-two"
    assert await listen(tree, words) == whole


async def listen(request, compute):
    return b"".join([piece async for piece in stream(request, compute)])


async def words():
    for word in (b"Nodes ", b"with ", b"children."):
        yield word


async def main():
    shared = await connect(TIMEOUT)
    await flights(shared)
    for client in (shared, *idle):
        await client.close()


asyncio.run(main())
