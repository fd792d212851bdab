"""Asks the cache, and the model only where nobody else does already: python examples/single_flight.py

It wants redis-py and a Redis with the module: REDIS_URL, or else redis://127.0.0.1:6379.
"""

import os
import threading
import time

import redis

# The socket's time-out must be longer than the WAIT below. A lease ends with its connection; the pool keeps
# that open.
r = redis.Redis.from_url(
    os.environ.get("REDIS_URL", "redis://127.0.0.1:6379"), decode_responses=True, socket_timeout=30
)


def answer(user, persona, message):
    """The answer: from the cache, from whoever asks the model already, or from the model."""
    request = ("response", user, persona, message)
    pause = 0.1
    for _ in range(4):
        kind, *rest = r.execute_command("CHATCACHE.FETCH", *request, "WAIT", 20_000)
        if kind == "hit":
            return rest[0]
        if kind == "lease":
            return compute(request, token=rest[0])
        if kind == "stale":
            response, token = rest
            if token is None:  # old, but good enough while somebody else computes a new one
                return response
            try:
                return compute(request, token)
            except ModelError:
                return response
        time.sleep(pause)  # busy: somebody computes it, longer than we waited
        pause *= 2
    return ask_the_model(persona, message)


def compute(request, token):
    """Computes the answer that we hold the lease for, and stores it; gives the lease back if that fails."""
    _, _, persona, message = request
    try:
        response = ask_the_model(persona, message)
        # None if the lease is void by now, as when the persona's prompt has changed: then nothing is stored.
        r.execute_command("CHATCACHE.SET", *request, response, "TOKEN", token)
        return response
    except BaseException:
        # The next one who waits computes it.
        r.execute_command("CHATCACHE.RELEASE", *request, "TOKEN", token)
        raise


class ModelError(Exception):
    pass


def ask_the_model(persona, message):
    """A stand-in: put the call of your model here, with a time-out shorter than the lease (lease-ms)."""
    print("(the model is asked)")
    time.sleep(0.5)
    if message == "fail":
        raise ModelError("the model failed")
    return f"{persona} says: 42"


if __name__ == "__main__":

    def ask(message):
        try:
            print(answer("ann", "helper", message))
        except ModelError as error:
            print(f"no answer: {error}")

    callers = [threading.Thread(target=ask, args=["What is 6 * 7?"]) for _ in range(4)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    ask("fail")
