"""One model call for any number of callers of a request: python examples/single_flight.py

It needs redis-py and a Redis with the module: REDIS_URL, or else redis://127.0.0.1:6379.
"""

import os
import threading
import time

import redis

# The WAIT below must be shorter than the socket's time-out, which is 5 s by default in redis-py 8.
r = redis.Redis.from_url(os.environ.get("REDIS_URL", "redis://127.0.0.1:6379"), decode_responses=True)


def respond(user, persona, message):
    """Returns the response: from the cache, from a caller that computes it already, or from the model."""
    request = ("response", user, persona, message)
    pause = 0.1
    for _ in range(4):
        state, response, token, _ = r.execute_command("CHATCACHE.FETCH", *request, "WAIT", 4_000)
        if state == "hit":
            return response
        if state == "lease":
            return compute(request, token)
        if state == "stale":
            if token is None:  # another caller refreshes it
                return response
            try:
                return compute(request, token)
            except ModelError:
                return response
        time.sleep(pause)  # busy: another caller computes it, for longer than we waited
        pause *= 2
    return ask_the_model(persona, message)


def compute(request, token):
    """Computes and stores the response of a leased request; gives the lease back on failure."""
    _, _, persona, message = request
    try:
        response = ask_the_model(persona, message)
        # Stores nothing and returns None if the lease is void by now, as after a change of the persona's prompt.
        r.execute_command("CHATCACHE.SET", *request, response, "TOKEN", token)
        return response
    except BaseException:
        # The next waiter computes it.
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
            print(respond("ann", "helper", message))
        except ModelError as error:
            print(f"no response: {error}")

    callers = [threading.Thread(target=ask, args=["What is 6 * 7?"]) for _ in range(4)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    ask("fail")
