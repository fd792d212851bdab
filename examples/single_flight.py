"""One model call for any number of callers of a request: python examples/single_flight.py

It needs redis-py and a Redis with the module: REDIS_URL, or else redis://127.0.0.1:6379.
"""

import logging
import os
import threading
import time

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

# The WAIT below must be shorter than the socket's time-out, which is 5 s by default in redis-py 8.
url = os.environ.get("REDIS_URL", "redis://127.0.0.1:6379")
r = redis.Redis.from_url(url, decode_responses=True, retry=Retry(NoBackoff(), 0))


def respond(user, persona, message):
    """Returns the response: from the cache, from a caller that computes it already, or from the model."""
    request = ("response", user, persona, message)
    pause = 0.1
    for _ in range(4):
        state, response, token, _ = fetch(request)
        if state == "down":
            break
        if token:  # lease, or stale and this caller refreshes it
            try:
                return compute(request, token)
            except ModelError:
                if state == "stale":
                    return response
                raise
        if state != "busy":  # hit, or stale and another caller refreshes it
            return response
        time.sleep(pause)  # busy: another caller computes it, for longer than we waited
        pause *= 2
    return ask_the_model(persona, message)


def compute(request, token):
    """Computes and stores the response of a leased request."""
    _, _, persona, message = request
    try:
        response = ask_the_model(persona, message)
        # Stores nothing and returns None if the lease is void by now, as after a change of the persona's prompt.
        tell("SET", *request, response, "TOKEN", token)
        return response
    finally:
        # If nothing was stored, the next waiter computes it.
        tell("RELEASE", *request, "TOKEN", token)


def fetch(request, *options):
    """Returns the reply of FETCH. Its state is "down" if Redis is down or refuses the command."""
    return tell("FETCH", *request, *options, "WAIT", 4_000) or ("down", None, None, None)


def tell(command, *args):
    """Returns the reply, or None after an error: the response does not depend on Redis."""
    try:
        return r.execute_command(f"CHATCACHE.{command}", *args)
    except redis.RedisError as error:
        logging.warning("%s: %s", command, error)
        return None


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
