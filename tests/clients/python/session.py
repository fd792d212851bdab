"""The session of tests/clients/README.md with redis-py, in RESP2 and in RESP3: python session.py"""

import os

import redis

ANSWER = "A sequence of elements."
ASK = ("response", "ann", "helper", "What is a list?")


def session(r):
    # Nothing, then an answer: nil is None, +OK is True for SET only, so here it is text.
    assert r.execute_command("CHATCACHE.GET", *ASK) is None
    assert r.execute_command("CHATCACHE.SET", *ASK, ANSWER, "EX", 60) == "OK"
    assert r.execute_command("CHATCACHE.SET", *ASK, "another", "NX") is None
    assert r.execute_command("CHATCACHE.GET", *ASK) == ANSWER
    assert r.execute_command("CHATCACHE.GET", "any", *ASK[1:]) == ANSWER
    key = r.execute_command("CHATCACHE.KEY", *ASK)
    assert key == "response:ann:helper:8e9f78b31da43444756e562246131283"
    assert 0 < r.ttl(key) <= 60

    # Maps: a dict in RESP3, a flat list in RESP2.
    inspected = as_dict(r.execute_command("CHATCACHE.INSPECT", *ASK))
    assert (inspected["key"], inspected["persona"], inspected["raw-bytes"]) == (key, "helper", len(ANSWER))
    assert r.execute_command("CHATCACHE.INSPECT", "msg", "ann", "helper", "?") is None
    assert as_dict(r.execute_command("CHATCACHE.STATS"))["entries"] == 1
    assert as_dict(r.execute_command("CHATCACHE.STATS", "helper"))["bytes"] == len(ANSWER)
    cursor, personas = r.execute_command("CHATCACHE.PERSONAS", "COUNT", 10)
    assert cursor == "0" and [as_dict(persona)["name"] for persona in personas] == ["helper"]

    # Single flight: a lease, who else asks is told busy, the answer with its token, and then hits.
    question = ("persona", "ann", "helper", "What is 6 * 7?")
    kind, _, token, ms = r.execute_command("CHATCACHE.FETCH", *question, "LEASE", 5000)
    assert (kind, ms) == ("lease", 5000)
    assert r.execute_command("CHATCACHE.FETCH", *question)[0] == "busy"
    assert r.execute_command("CHATCACHE.RELEASE", *question, "TOKEN", token) == 1
    assert r.execute_command("CHATCACHE.SET", *question, "41", "TOKEN", token) is None
    kind, _, token, _ = r.execute_command("CHATCACHE.FETCH", *question)
    assert r.execute_command("CHATCACHE.SET", *question, "42", "TOKEN", token) == "OK"
    assert r.execute_command("CHATCACHE.FETCH", *question, "WAIT", 100)[:3] == ["hit", "42", None]
    assert r.execute_command("CHATCACHE.SOFTINVALIDATE", "helper") == 2
    kind, response, token, _ = r.execute_command("CHATCACHE.FETCH", *question)
    assert (kind, response) == ("stale", "42") and token
    assert r.execute_command("CHATCACHE.FETCH", *question)[:3] == ["stale", "42", None]

    # An error is an exception with the server's words.
    try:
        r.execute_command("CHATCACHE.GET", "nowhere", "ann", "helper", "hello")
        raise AssertionError("there is no tier nowhere")
    except redis.ResponseError as error:
        assert "msg, persona, session" in str(error), error

    # A pipeline (and, with transaction=True, MULTI): one round trip.
    pipe = r.pipeline(transaction=True)
    for tier in ("msg", "session", "response"):
        pipe.execute_command("CHATCACHE.SET", tier, "bob", "poet", "Hi", f"Hello from {tier}")
    pipe.execute_command("CHATCACHE.GET", "any", "bob", "poet", "Hi")
    assert pipe.execute() == ["OK", "OK", "OK", "Hello from session"]

    # Dropping answers.
    assert r.execute_command("CHATCACHE.DEL", "msg", "bob", "poet", "Hi") == 1
    assert r.execute_command("CHATCACHE.FORGET", "bob") == 2
    assert r.execute_command("CHATCACHE.INVALIDATE", "helper", "poet") == 2
    assert r.execute_command("CHATCACHE.GET", "any", *ASK[1:]) is None
    assert r.execute_command("CHATCACHE.FLUSH") == 0
    assert r.execute_command("CHATCACHE.HELP")[0].startswith("CHATCACHE")


def bytes_are_bytes(r):
    """Any byte may stand anywhere."""
    request, answer = ("session", b"\xff\x00", b"{he:lper}", b"\r\n"), bytes(range(256))
    assert r.execute_command("CHATCACHE.SET", *request, answer) == b"OK"
    assert r.execute_command("CHATCACHE.GET", *request) == answer
    assert r.execute_command("CHATCACHE.FLUSH", "session") == 1


def as_dict(reply):
    return reply if isinstance(reply, dict) else dict(zip(reply[::2], reply[1::2]))


for protocol in (2, 3):
    to = {"port": int(os.environ["REDIS_PORT"]), "protocol": protocol}
    session(redis.Redis(**to, decode_responses=True))
    bytes_are_bytes(redis.Redis(**to))
