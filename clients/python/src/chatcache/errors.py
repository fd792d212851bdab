"""The errors that a caller of the cache may handle. Errors of Redis itself are redis-py's."""

from typing import Any

from redis.exceptions import (
    AuthenticationError,
    AuthorizationError,
    ConnectionError,
    NoPermissionError,
    ResponseError,
    TimeoutError,
)


class StreamLost(Exception):
    """The response that a caller read along is void: its model call failed, or its persona was invalidated.

    The caller has a part of it. It may begin again with a new `stream`, or tell its user.
    """


class NotStored(ResponseError):
    """Redis refused to store a computed response, as it is too large or memory is full. `value` is the response."""

    def __init__(self, value: Any, reason: Exception) -> None:
        super().__init__(str(reason))
        self.value = value


def is_outage(error: BaseException) -> bool:
    """Returns true for an error of the connection or a time-out, and false for a command or a user that is refused."""
    # redis-py counts some refusals among the errors of a connection.
    return isinstance(error, (ConnectionError, TimeoutError)) and not is_refusal(error)


def is_refusal(error: BaseException) -> bool:
    """Returns true if Redis refuses the user: a wrong password, or a missing right."""
    return isinstance(error, (AuthenticationError, AuthorizationError, NoPermissionError))
