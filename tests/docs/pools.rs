//! The guide's loop in services with a connection pool and a slow model: one call of the model.
//!
//! The model takes 3 s, and a socket 5 s to time out, the default of redis-py 8: a client library gives a connection
//! back to its pool between the FETCH and the SET of one caller, so the next FETCH on it is another caller's. An older
//! redis-py is given that time-out; a newer one has its own defaults.

use super::python::Python;
use super::root;
use testkit::Server;

/// The guide's Python block that has this text, with these changes.
fn block_of_the_guide(text: &str, changes: &[(&str, &str)]) -> String {
    let page = std::fs::read_to_string(root().join("docs/guide/single-flight.md")).expect("the guide");
    let blocks = page.split("```python\n").skip(1);
    let mut blocks = blocks.map(|block| block.split_once("```").expect("the end of a block").0);
    let mut block = blocks.find(|block| block.contains(text)).expect("the block").to_owned();
    for (from, to) in changes {
        assert!(block.contains(from), "{from}: {block}");
        block = block.replace(from, to);
    }
    block
}

/// The time-out of redis-py 8, for an older one too.
const TIMEOUT: &str = "**({} if int(redis.__version__.split('.')[0]) >= 8 else {'socket_timeout': 5})";

/// The loop, as a service with a slow model.
fn loop_of_the_guide(server: &Server) -> String {
    let port = format!("port={}, {TIMEOUT}", server.port());
    block_of_the_guide("def respond(", &[("time.sleep(0.2)", "time.sleep(3)"), ("port=6379", &port)])
}

/// The loop with streaming, whose model takes 3 s for three pieces.
fn streaming_loop_of_the_guide() -> String {
    block_of_the_guide("def stream(", &[("time.sleep(0.1)", "time.sleep(1)")])
}

const THREADS: &str = r#"
def crowd(message, count, apart):
    calls.clear()
    responses = []
    callers = [
        threading.Thread(target=lambda: responses.append(respond("ann", "helper", message)))
        for _ in range(count)
    ]
    for caller in callers:
        caller.start()
        time.sleep(apart)
    for caller in callers:
        caller.join()
    print(len(responses), len(set(responses)), len(calls))

crowd("at once", 20, 0)
crowd("apart", 20, 0.05)
"#;

const STREAMING_THREADS: &str = r#"
def crowd(message, count, apart):
    calls.clear()
    responses = []
    callers = [
        threading.Thread(target=lambda: responses.append("".join(stream("ann", "helper", message))))
        for _ in range(count)
    ]
    for caller in callers:
        caller.start()
        time.sleep(apart)
    for caller in callers:
        caller.join()
    print(len(responses), set(responses), len(calls))

crowd("at once", 20, 0)
crowd("apart", 20, 0.05)
"#;

const STREAMING_TASKS: &str = r#"
import asyncio
import redis
import redis.asyncio

calls = []

async def speak(r, request, token):
    calls.append(request)
    for piece in ("helper ", "says: ", "42"):
        await asyncio.sleep(1)
        await r.execute_command("CHATCACHE.APPEND", *request, piece, "TOKEN", token)
        yield piece
    await r.execute_command("CHATCACHE.COMMIT", *request, "TOKEN", token)

async def stream(r, message):
    request, offset = ("response", "ann", "helper", message), ()
    while True:
        fetch = ("CHATCACHE.FETCH", *request, "STREAM", *offset, "WAIT", 4_000)
        state, text, token, number = await r.execute_command(*fetch)
        if state == "lease":
            async for piece in speak(r, request, token):
                yield piece
            return
        assert state in ("hit", "part", "rest"), state
        if text:
            yield text
        if state != "part":
            return
        offset = ("FROM", token, number)

async def later(r, message, seconds):
    await asyncio.sleep(seconds)
    return "".join([piece async for piece in stream(r, message)])

async def crowd():
    r = redis.asyncio.Redis(port=PORT, decode_responses=True, TIMEOUT)
    for message, apart in (("tasks at once", 0), ("tasks apart", 0.05)):
        calls.clear()
        responses = await asyncio.gather(*(later(r, message, n * apart) for n in range(20)))
        print(len(responses), set(responses), len(calls))

asyncio.run(crowd())
"#;

const TASKS: &str = r#"
import asyncio
import redis.asyncio

async def respond_async(r, message):
    request = ("response", "ann", "helper", message)
    for _ in range(4):
        state, response, token, _ = await r.execute_command("CHATCACHE.FETCH", *request, "WAIT", 4_000)
        if state == "hit":
            return response
        if state == "lease":
            calls.append(message)
            await asyncio.sleep(3)
            await r.execute_command("CHATCACHE.SET", *request, "42", "TOKEN", token)
            return "42"
    raise AssertionError("busy")

async def later(r, message, seconds):
    await asyncio.sleep(seconds)
    return await respond_async(r, message)

async def crowd_of_tasks():
    r = redis.asyncio.Redis(port=PORT, decode_responses=True, TIMEOUT)
    for message, apart in (("tasks at once", 0), ("tasks apart", 0.05)):
        calls.clear()
        responses = await asyncio.gather(*(later(r, message, n * apart) for n in range(20)))
        print(len(responses), len(set(responses)), len(calls))
    # The second task runs on the connection that the first one took its lease on.
    calls.clear()
    responses = await asyncio.gather(*(later(r, "half a second", n / 2) for n in range(2)))
    print(len(responses), len(set(responses)), len(calls))

asyncio.run(crowd_of_tasks())
"#;

#[test]
fn the_loop_calls_a_slow_model_once_for_a_pool_of_threads() {
    let server = Server::start();
    let mut python = Python::start();
    python.run(&loop_of_the_guide(&server)).expect("the loop");
    let printed = python.run(THREADS).expect("a crowd of threads");
    assert_eq!(printed.trim(), "20 1 1\n20 1 1");
}

#[test]
fn the_loop_calls_a_slow_model_once_for_a_pool_of_tasks() {
    let server = Server::start();
    let mut python = Python::start();
    let printed = python.run(&format!("calls = []\n{}", at(&server, TASKS)));
    assert_eq!(printed.expect("a crowd of tasks").trim(), "20 1 1\n20 1 1\n2 1 1");
}

#[test]
fn the_loop_with_streaming_calls_a_slow_model_once_for_a_pool_of_threads() {
    let server = Server::start();
    let mut python = Python::start();
    python.run(&loop_of_the_guide(&server)).expect("the loop");
    python.run(&streaming_loop_of_the_guide()).expect("the loop with streaming");
    let printed = python.run(STREAMING_THREADS).expect("a crowd of threads");
    assert_eq!(printed.trim(), "20 {'helper says: 42'} 1\n20 {'helper says: 42'} 1");
}

#[test]
fn the_loop_with_streaming_calls_a_slow_model_once_for_a_pool_of_tasks() {
    let server = Server::start();
    let mut python = Python::start();
    let printed = python.run(&at(&server, STREAMING_TASKS)).expect("a crowd of tasks");
    assert_eq!(printed.trim(), "20 {'helper says: 42'} 1\n20 {'helper says: 42'} 1");
}

#[test]
fn the_loop_with_streaming_is_shorter_than_forty_lines() {
    let lines = streaming_loop_of_the_guide().lines().filter(|line| !line.is_empty()).count();
    assert!(lines < 40, "{lines} lines");
}

/// A block for this server.
fn at(server: &Server, block: &str) -> String {
    block.replace("PORT", &server.port().to_string()).replace("TIMEOUT", TIMEOUT)
}
