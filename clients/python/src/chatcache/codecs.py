"""Codecs: the values of a cache as the bytes of a response. None of them runs code of the response, as pickle would."""

import codecs
import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

T = TypeVar("T")

if TYPE_CHECKING:
    from typing_extensions import TypeVar as TypeVarWithDefault

    Value = TypeVarWithDefault("Value", default=str)
else:
    Value = TypeVar("Value")


class Codec(Protocol[T]):
    def encode(self, value: T) -> bytes: ...

    def decode(self, response: bytes) -> T: ...

    def pieces(self) -> Callable[[bytes, bool], T] | None:
        """Returns a function that decodes a response piece by piece (its second argument tells the end), or None."""


def wrong(value: object, wanted: str) -> TypeError:
    return TypeError(f"the value is {type(value).__name__}, and the codec takes {wanted}")


class TextCodec:
    """Text as UTF-8. `errors` is Python's word for bytes that are no UTF-8: strict, replace or ignore."""

    def __init__(self, errors: str = "strict") -> None:
        self._errors = errors

    def encode(self, value: str) -> bytes:
        if not isinstance(value, str):
            raise wrong(value, "str: JSON or PydanticCodec take more types")
        return value.encode()

    def decode(self, response: bytes) -> str:
        return response.decode("utf-8", self._errors)

    def pieces(self) -> Callable[[bytes, bool], str]:
        return codecs.getincrementaldecoder("utf-8")(self._errors).decode


class BytesCodec:
    def encode(self, value: bytes) -> bytes:
        if not isinstance(value, bytes):
            raise wrong(value, "bytes")
        return value

    def decode(self, response: bytes) -> bytes:
        return response

    def pieces(self) -> Callable[[bytes, bool], bytes]:
        return lambda piece, _: piece


class JsonCodec:
    """What `json` can write and read."""

    def encode(self, value: Any) -> bytes:
        return json.dumps(value, separators=(",", ":")).encode()

    def decode(self, response: bytes) -> Any:
        return json.loads(response)

    def pieces(self) -> None:
        return None


class PydanticCodec(Codec[T]):
    """Values of a pydantic model, or of any type that pydantic validates. Needs the extra `pydantic`."""

    def __init__(self, type_: type[T]) -> None:
        from pydantic import TypeAdapter

        self._adapter: TypeAdapter[T] = TypeAdapter(type_)

    def encode(self, value: T) -> bytes:
        return self._adapter.dump_json(value)

    def decode(self, response: bytes) -> T:
        return self._adapter.validate_json(response)

    def pieces(self) -> None:
        return None


TEXT = TextCodec()
BYTES = BytesCodec()
JSON = JsonCodec()
