"""The promises of `AsyncCache`, and of streams across processes."""

import asyncio
import signal
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import aclosing
from typing import Any

import pytest
import redis

from chatcache import BYTES, Answer, AsyncCache, NotStored, StreamLost
from tests.servers import Script, Server

OF_ANN: dict[str, Any] = {"persona": "helper", "user": "ann"}


class Model:
    """Each call says another thing."""

    def __init__(self, seconds: float = 0) -> None:
        self.calls = 0
        self._seconds = seconds

    async def __call__(self) -> str:
        self.calls += 1
        number = self.calls
        await asyncio.sleep(self._seconds)
        return f"said {number}"


def in_loop(work: Callable[[], Coroutine[Any, Any, None]]) -> None:
    async def bounded() -> None:
        await asyncio.wait_for(work(), 60)

    asyncio.run(bounded())


async def until(what: str, look: Callable[[], Any], seconds: float = 30) -> None:
    end = time.monotonic() + seconds
    while not look():
        assert time.monotonic() < end, f"{what}: not within {seconds} s"
        await asyncio.sleep(0.02)


async def ask(cache: AsyncCache, model: Callable[[], Awaitable[str]], **more: Any) -> Answer[str]:
    return await cache.get_or_compute(model, "hi", **{**OF_ANN, **more})


def said(*texts: str, pause: float = 0) -> Callable[[], AsyncIterator[str]]:
    async def say() -> AsyncIterator[str]:
        for text in texts:
            yield text
            await asyncio.sleep(pause)

    return say


async def read(cache: AsyncCache, say: Callable[[], AsyncIterator[str]]) -> Answer[str]:
    stream = await cache.stream(say, "hi", **OF_ANN)
    return Answer("".join([piece async for piece in stream]), stream.source)


@pytest.mark.slow
@pytest.mark.parametrize("apart", [0, 0.05])
def test_a_crowd_of_tasks_costs_one_model_call(server: Server, apart: float) -> None:
    async def work() -> None:
        async with AsyncCache(server.url) as cache:
            model = Model(3)
            tasks = []
            for _ in range(20):
                tasks.append(asyncio.create_task(ask(cache, model)))
                await asyncio.sleep(apart)
            answers = await asyncio.gather(*tasks)
            assert {answer.value for answer in answers} == {"said 1"}
            assert [answer.source for answer in answers].count("computed") == 1
            assert (model.calls, server.calls("chatcache.fetch")) == (1, 1)

    in_loop(work)


def test_tasks_read_write_and_change(server: Server) -> None:
    async def work() -> None:
        async with AsyncCache(server.url) as cache:
            model = Model()
            assert await ask(cache, model) == Answer("said 1", "computed")
            assert await ask(cache, model) == Answer("said 1", "hit")
            assert await cache.set("bye", "x", **OF_ANN)
            answers = await cache.get_many(["hi", "no", "bye"], **OF_ANN)
            assert answers == [Answer("said 1", "hit"), None, Answer("x", "hit")]
            assert await cache.get("hi", **OF_ANN) == answers[0]
            entry = await cache.inspect("hi", **OF_ANN)
            assert entry and entry["key"] == cache.key("hi", **OF_ANN)
            assert (await cache.stats())["entries"] == 2
            assert await cache.invalidate("helper") == 2
            await ask(cache, model)
            assert (await cache.forget("ann"), await cache.flush()) == (1, 0)
            assert await ask(cache, model, store=False) == Answer("said 3", "uncached")
            assert server.stat("leases") == 0

            @cache.cached(persona="helper", user="{user}", message="{question}")
            async def respond(user: str, question: str) -> str:
                return f"{user}: {await model()}"

            assert await respond("ann", "hi") == await respond("ann", question="hi") == "ann: said 4"

    in_loop(work)


def test_a_caller_that_is_cancelled_does_not_waste_the_response(server: Server) -> None:
    async def work() -> None:
        async with AsyncCache(server.url) as cache:
            model = Model(0.5)
            first = asyncio.create_task(ask(cache, model))
            await until("it computes", lambda: model.calls)
            first.cancel()
            assert await ask(cache, model) == Answer("said 1", "shared")

    in_loop(work)


def test_a_failure_is_raised_for_all_and_gives_the_lease_back(server: Server) -> None:
    async def broken() -> str:
        await asyncio.sleep(0.1)
        raise RuntimeError("the model failed")

    async def work() -> None:
        async with AsyncCache(server.url) as cache:
            errors = await asyncio.gather(*(ask(cache, broken) for _ in range(3)), return_exceptions=True)
            assert [str(error) for error in errors] == ["the model failed"] * 3
            assert server.stat("leases") == 0
            assert (await ask(cache, Model())).source == "computed"

    in_loop(work)


def test_a_model_that_is_cancelled_is_called_once_and_that_is_raised(server: Server) -> None:
    calls = 0

    async def cancelled() -> str:
        nonlocal calls
        calls += 1
        raise asyncio.CancelledError

    async def work() -> None:
        async with AsyncCache(server.url) as cache:
            with pytest.raises(asyncio.CancelledError):
                await ask(cache, cancelled)
            assert (calls, server.stat("leases")) == (1, 0)

    in_loop(work)


def test_closing_gives_leases_back(server: Server) -> None:
    async def work() -> None:
        model = Model(60)
        async with AsyncCache(server.url) as cache:
            caller = asyncio.create_task(ask(cache, model))
            await until("it computes", lambda: model.calls)
            assert server.stat("leases") == 1
        with pytest.raises(RuntimeError, match="closed"):
            await caller
        await until("the lease is back", lambda: server.stat("leases") == 0)

    in_loop(work)


def test_a_stale_response_is_refreshed_in_the_background(server: Server) -> None:
    async def work() -> None:
        async with AsyncCache(server.url, ttl=0.05, stale=60) as cache:
            model = Model()
            await ask(cache, model)
            await asyncio.sleep(0.1)
            assert await ask(cache, model) == Answer("said 1", "stale")
            end = time.monotonic() + 30
            while (await ask(cache, model)).value == "said 1":
                assert time.monotonic() < end
                await asyncio.sleep(0.01)

    in_loop(work)


def test_a_server_that_is_gone_or_hangs_costs_a_model_call(server: Server) -> None:
    async def work() -> None:
        async with AsyncCache(server.url, timeout=0.3) as cache:
            model = Model()
            await ask(cache, model)
            server.process.send(signal.SIGSTOP)
            assert (await ask(cache, model)).source == "uncached"
            server.process.send(signal.SIGCONT)
            server.stop()
            answers = await asyncio.gather(*(ask(cache, Model(0.3)) for _ in range(20)))
            assert {answer.value for answer in answers} == {"said 1"}
            assert await cache.get("hi", **OF_ANN) is None
            with pytest.raises(redis.ConnectionError):
                await cache.invalidate("helper")
            server.start()
            assert (await ask(cache, model)).source == "computed"

    in_loop(work)


def test_a_refused_command_is_raised_in_tasks(server: Server) -> None:
    async def work() -> None:
        async with AsyncCache(server.url) as cache:
            server.run("ACL", "SETUSER", "default", "-chatcache.fetch")
            with pytest.raises(redis.ResponseError):
                await ask(cache, Model())

    in_loop(work)


def test_a_cache_is_of_one_event_loop(server: Server) -> None:
    cache = AsyncCache(server.url)
    model = Model()

    async def close() -> None:
        await ask(cache, model)
        await cache.aclose()

    async def again() -> None:
        with pytest.raises(RuntimeError, match="another event loop"):
            await ask(cache, model)

    asyncio.run(close())
    asyncio.run(again())
    assert (model.calls, server.stat("leases")) == (1, 0)


# Streams


def test_pieces_come_as_they_are_said(server: Server) -> None:
    async def work() -> None:
        go_on = asyncio.Event()

        async def say() -> AsyncIterator[str]:
            yield "first "
            await go_on.wait()
            yield "second"

        async with AsyncCache(server.url) as one, AsyncCache(server.url) as two:
            first = await one.stream(say, "hi", **OF_ANN)
            second = await one.stream(say, "hi", **OF_ANN)  # of the same process
            third = await two.stream(say, "hi", **OF_ANN)  # of another
            assert [s.source for s in (first, second, third)] == ["computed", "shared", "shared"]
            readers = [aiter(stream) for stream in (first, third)]
            assert [await anext(reader) for reader in readers] == ["first "] * 2
            go_on.set()
            assert [await anext(reader) for reader in readers] == ["second"] * 2
            assert "".join([piece async for piece in second]) == "first second"
            assert (await read(one, say)) == Answer("first second", "hit")

    in_loop(work)


READER = """
import asyncio, sys
from chatcache import BYTES, AsyncCache
async def never():
    raise AssertionError("the model is called")
    yield b""
async def read(cache):
    stream = await cache.stream(never, "hi", persona="helper", user="ann")
    response = b"".join([piece async for piece in stream])
    print(stream.source, response.hex())
async def main():
    async with AsyncCache(sys.argv[1], BYTES) as cache:
        print("ready")
        readers = []
        for _ in range(30):
            readers.append(asyncio.create_task(read(cache)))
            await asyncio.sleep(0.03)
        await asyncio.gather(*readers)
asyncio.run(main())
"""


def test_two_processes_read_along_whenever_they_join(server: Server, run: Callable[..., Script]) -> None:
    whole = [uuid.uuid4().bytes for _ in range(120)]

    async def say() -> AsyncIterator[bytes]:
        for piece in whole:
            yield piece
            await asyncio.sleep(0.01)

    async def work() -> None:
        async with AsyncCache(server.url, BYTES) as cache:
            stream = await cache.stream(say, "hi", **OF_ANN)
            readers = [run(READER, server.url) for _ in range(2)]
            mine = b"".join([piece async for piece in stream])
            assert mine == b"".join(whole)
        for reader in readers:
            lines = await asyncio.to_thread(reader.lines)
            assert lines[0] == "ready"
            assert len(lines) == 31
            assert {line.split()[1] for line in lines[1:]} == {mine.hex()}
            assert {line.split()[0] for line in lines[1:]} <= {"shared", "hit"}

    in_loop(work)


HOLDER = """
import asyncio, sys
from chatcache import AsyncCache
async def say():
    yield "begun"
    await asyncio.sleep(60)
async def main():
    async with AsyncCache(sys.argv[1]) as cache:
        async for piece in await cache.stream(say, "hi", persona="helper", user="ann"):
            print(piece)
asyncio.run(main())
"""


def test_a_reader_whose_holder_is_killed_is_told_and_begins_again(
    server: Server, run: Callable[..., Script]
) -> None:
    async def work() -> None:
        holder = run(HOLDER, server.url)
        assert await asyncio.to_thread(holder.line) == "begun"
        async with AsyncCache(server.url) as cache:
            stream = await cache.stream(said("new"), "hi", **OF_ANN)
            async with aclosing(aiter(stream)) as pieces:
                assert (stream.source, await anext(pieces)) == ("shared", "begun")
                # A caller who wants the whole is served all the same.
                whole = asyncio.create_task(ask(cache, Model()))
                await asyncio.sleep(0.1)
                holder.kill9()
                with pytest.raises(StreamLost):
                    await anext(pieces)
            assert (await whole).value in ("said 1", "new")
            assert (await read(cache, said("newer"))).value in ("said 1", "new")

    in_loop(work)


def test_a_stream_of_before_a_change_is_for_its_own_caller_only(server: Server) -> None:
    async def work() -> None:
        go_on = asyncio.Event()

        async def old() -> AsyncIterator[str]:
            yield "old "
            await go_on.wait()
            yield "prompt"

        async with AsyncCache(server.url) as cache, AsyncCache(server.url) as other:
            first = asyncio.create_task(read(cache, old))
            await until("it streams", lambda: server.stat("drafts") == 1)
            along = await other.stream(old, "hi", **OF_ANN)
            reader = aiter(along)
            assert await anext(reader) == "old "
            server.run("CHATCACHE.INVALIDATE", "helper")
            with pytest.raises(StreamLost):
                await anext(reader)
            later = asyncio.create_task(read(cache, said("new")))
            await asyncio.sleep(0.1)
            go_on.set()
            assert await first == Answer("old prompt", "computed")
            assert (await later).value == "new"
            assert (await read(other, said())) == Answer("new", "hit")

    in_loop(work)


def test_tasks_after_an_invalidate_in_a_stream_cost_one_model_call(server: Server) -> None:
    async def work() -> None:
        go_on = asyncio.Event()

        async def old() -> AsyncIterator[str]:
            yield "old "
            server.run("CHATCACHE.INVALIDATE", "helper")
            yield "prompt"
            await go_on.wait()

        async with AsyncCache(server.url) as cache:
            first = aiter(await cache.stream(old, "hi", **OF_ANN))
            assert [await anext(first), await anext(first)] == ["old ", "prompt"]
            model = Model(0.3)
            answers = await asyncio.gather(*(ask(cache, model) for _ in range(20)))
            assert sorted(answer.source for answer in answers) == ["computed"] + ["shared"] * 19
            assert await ask(cache, model) == Answer("said 1", "hit")
            go_on.set()
            assert [piece async for piece in first] == []

    in_loop(work)


def test_a_stream_that_breaks_off_is_not_stored(server: Server) -> None:
    async def broken() -> AsyncIterator[str]:
        yield "a part"
        raise RuntimeError("the model failed")

    async def work() -> None:
        async with AsyncCache(server.url) as cache:
            stream = aiter(await cache.stream(broken, "hi", **OF_ANN))
            assert await anext(stream) == "a part"
            with pytest.raises(RuntimeError, match="the model failed"):
                await anext(stream)
            assert (server.stat("leases"), server.stat("drafts"), server.stat("entries")) == (0, 0, 0)
            assert (await read(cache, said("a", "b"))) == Answer("ab", "computed")

    in_loop(work)


def test_a_stream_that_should_not_be_stored_is_not(server: Server) -> None:
    async def work() -> None:
        async with AsyncCache(server.url) as cache:
            stream = await cache.stream(
                said("a", "b"), "hi", **OF_ANN, should_store=lambda text: text != "ab"
            )
            assert [piece async for piece in stream] == ["a", "b"]
            assert (server.stat("leases"), server.stat("entries")) == (0, 0)
            assert (await read(cache, said())) == Answer("", "computed")

    in_loop(work)


def test_a_server_that_dies_in_a_stream_costs_its_caller_nothing(server: Server) -> None:
    async def work() -> None:
        async with AsyncCache(server.url) as cache:

            async def say() -> AsyncIterator[str]:
                yield "a"
                server.stop()
                yield "b"

            assert await read(cache, say) == Answer("ab", "computed")
            assert await read(cache, said("c", "d")) == Answer("cd", "uncached")

    in_loop(work)


@pytest.mark.module("max-response-bytes", "1kb")
def test_a_stream_that_redis_refuses_is_given_to_its_end(server: Server) -> None:
    async def work() -> None:
        async with AsyncCache(server.url) as cache:
            seen: list[str] = []
            with pytest.raises(NotStored) as refused:
                async for piece in await cache.stream(said("x" * 600, "y" * 600, "z"), "hi", **OF_ANN):
                    seen.append(piece)
            assert "".join(seen) == refused.value.value == "x" * 600 + "y" * 600 + "z"
            assert server.stat("leases") == 0

    in_loop(work)


def test_a_character_in_two_parts_is_put_together(server: Server) -> None:
    async def work() -> None:
        words = ("response", "ann", "helper", "hi")
        async with AsyncCache(server.url) as cache:
            token = server.run("CHATCACHE.FETCH", *words)[2]
            server.run("CHATCACHE.APPEND", *words, b"gr\xc3", "TOKEN", token)
            stream = aiter(await cache.stream(said(), "hi", **OF_ANN))
            assert await anext(stream) == "gr"
            server.run("CHATCACHE.APPEND", *words, b"\xbc\xc3\x9f", "TOKEN", token)
            server.run("CHATCACHE.COMMIT", *words, "TOKEN", token)
            assert "".join([piece async for piece in stream]) == "üß"

    in_loop(work)


def test_a_stored_stream_that_is_no_text_is_computed_anew(server: Server) -> None:
    async def work() -> None:
        server.run("CHATCACHE.SET", "response", "ann", "helper", "hi", b"caf\xe9")
        async with AsyncCache(server.url) as cache:
            assert await read(cache, said("caf", "é")) == Answer("café", "computed")
            assert await read(cache, said()) == Answer("café", "hit")

    in_loop(work)


def test_a_stale_stream_is_whole(server: Server) -> None:
    async def work() -> None:
        async with AsyncCache(server.url, BYTES, ttl=0.02, stale=60) as cache:
            await cache.set("hi", b"old", **OF_ANN)
            await asyncio.sleep(0.1)

            async def say() -> AsyncIterator[bytes]:
                yield b"n"
                yield b"ew"

            stream = await cache.stream(say, "hi", **OF_ANN)
            assert (stream.source, [piece async for piece in stream]) == ("stale", [b"old"])
            await until("it is refreshed", lambda: server.stat("sets") == 2)

    in_loop(work)
