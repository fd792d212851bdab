//! The guide's loop in services with a connection pool and a slow model: one call of the model.
//!
//! The model takes 3 s, and a socket 5 s to time out, the default of redis-py 8: a client library gives a connection
//! back to its pool between the FETCH and the SET of one caller, so the next FETCH on it is another caller's.

use super::python::Python;
use super::root;
use testkit::Server;

/// The guide's first Python block, as a service with a slow model.
fn loop_of_the_guide(server: &Server) -> String {
    let page = std::fs::read_to_string(root().join("docs/guide/single-flight.md")).expect("the guide");
    let (_, block) = page.split_once("```python\n").expect("the loop");
    let (block, _) = block.split_once("```").expect("the end of the loop");
    let block = block.replace("time.sleep(0.2)", "time.sleep(3)");
    let block = block.replace("port=6379", &format!("port={}, socket_timeout=5", server.port()));
    assert!(block.contains("time.sleep(3)") && block.contains("socket_timeout=5"), "{block}");
    block
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
    r = redis.asyncio.Redis(port=PORT, decode_responses=True, socket_timeout=5)
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
    let printed = python.run(&format!("calls = []\n{}", TASKS.replace("PORT", &server.port().to_string())));
    assert_eq!(printed.expect("a crowd of tasks").trim(), "20 1 1\n20 1 1\n2 1 1");
}
