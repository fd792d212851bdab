"""The session of tests/clients/README.md with redis-py's cluster client, on three masters.

A persona lives in one slot, so commands with a persona go to its node by themselves. Those without are for one
node at a time: they are sent to every primary, and the replies come back by node.
"""

import os

import redis
from redis.cluster import RedisCluster

PERSONAS = [f"helper-{number}" for number in range(20)]
ANSWER = "A sequence of elements."


def session(r):
    def everywhere(*command):
        return r.execute_command(*command, target_nodes=r.get_primaries())

    for persona in PERSONAS:
        ask = ("response", "ann", persona, "What is a list?")
        assert r.execute_command("CHATCACHE.GET", *ask) is None
        assert r.execute_command("CHATCACHE.SET", *ask, ANSWER) == "OK"
        assert r.execute_command("CHATCACHE.SET", *ask, ANSWER, "NX") is None
        assert r.execute_command("CHATCACHE.GET", "any", *ask[1:]) == ANSWER
        # The key carries its persona as hash tag, so it is where the persona is.
        key = r.execute_command("CHATCACHE.KEY", *ask)
        assert key == f"response:{{{persona}}}:ann:8e9f78b31da43444756e562246131283"
        assert r.keyslot(key) == r.keyslot(persona) and r.exists(key) == 1
        inspected = as_dict(r.execute_command("CHATCACHE.INSPECT", *ask))
        assert (inspected["key"], inspected["user"]) == (key, "ann")
        assert as_dict(r.execute_command("CHATCACHE.STATS", persona))["entries"] == 1
    assert len({r.get_node_from_key(persona).name for persona in PERSONAS}) == 3

    names = []
    for cursor, personas in everywhere("CHATCACHE.PERSONAS", "COUNT", 1000).values():
        assert cursor == "0"
        names += [as_dict(persona)["name"] for persona in personas]
    assert sorted(names) == sorted(PERSONAS)
    assert sum(as_dict(stats)["entries"] for stats in everywhere("CHATCACHE.STATS").values()) == 20

    question = ("persona", "ann", "poet", "What is 6 * 7?")
    kind, _, token, _ = r.execute_command("CHATCACHE.FETCH", *question)
    assert kind == "lease" and r.execute_command("CHATCACHE.RELEASE", *question, "TOKEN", token) == 1
    kind, _, token, _ = r.execute_command("CHATCACHE.FETCH", *question)
    assert r.execute_command("CHATCACHE.SET", *question, "42", "TOKEN", token) == "OK"
    assert r.execute_command("CHATCACHE.FETCH", *question)[:2] == ["hit", "42"]
    assert r.execute_command("CHATCACHE.SOFTINVALIDATE", "poet") == 1
    assert r.execute_command("CHATCACHE.FETCH", *question)[:2] == ["stale", "42"]
    assert r.execute_command("CHATCACHE.DEL", *question) == 1

    try:
        r.execute_command("CHATCACHE.GET", "nowhere", "ann", "helper-1", "hello")
        raise AssertionError("there is no tier nowhere")
    except redis.ResponseError as error:
        assert "msg, persona, session" in str(error), error

    # A pipeline goes to all nodes that it needs.
    pipe = r.pipeline()
    for persona in PERSONAS:
        pipe.execute_command("CHATCACHE.SET", "msg", "bob", persona, "Hi", f"Hello from {persona}")
    assert pipe.execute() == ["OK"] * 20

    # Personas of one slot can be dropped together, others one by one.
    assert sum(r.execute_command("CHATCACHE.INVALIDATE", persona) for persona in PERSONAS[:5]) == 10
    assert sum(everywhere("CHATCACHE.FORGET", "bob").values()) == 15
    assert sum(everywhere("CHATCACHE.FLUSH", "response").values()) == 15
    assert all(reply[0].startswith("CHATCACHE") for reply in everywhere("CHATCACHE.HELP").values())


def as_dict(reply):
    return reply if isinstance(reply, dict) else dict(zip(reply[::2], reply[1::2]))


for protocol in (2, 3):
    port = int(os.environ["REDIS_CLUSTER_PORT"])
    session(RedisCluster(host="127.0.0.1", port=port, protocol=protocol, decode_responses=True))
