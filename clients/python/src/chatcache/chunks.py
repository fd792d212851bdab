"""Chat completions as chunks: read from an event stream, put together to a completion, or taken apart from one.

A response is stored as its chunks, a line of JSON each.
"""

import json
import re
from collections.abc import AsyncIterator
from typing import Any

# A CR at the end of a piece may have its LF in the next one.
LINE_END = re.compile(rb"\r\n|\n|\r(?!\Z)")

# Properties of a chunk that its completion does not have. `obfuscation` is padding.
OF_CHUNKS = ("choices", "obfuscation")


async def events(pieces: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """Yields the data of each event of an event stream. Only CR and LF end its lines, not U+2028 and the like."""
    rest = b""
    data: list[bytes] = []
    async for piece in pieces:
        *lines, rest = LINE_END.split(rest + piece)
        for line in lines:
            if line.startswith(b"data:"):
                data.append(line.removeprefix(b"data:"))
            elif not line and data:
                yield b"\n".join(data)
                data = []
    if rest.startswith(b"data:"):
        data.append(rest.removeprefix(b"data:"))
    if data:
        yield b"\n".join(data)


def as_line(chunk: dict[str, Any]) -> bytes:
    return json.dumps(chunk, separators=(",", ":")).encode() + b"\n"


def chunks_of(response: bytes) -> list[dict[str, Any]]:
    return [json.loads(line) for line in response.splitlines()]


def is_chunk(data: Any) -> bool:
    """Whether the data is a chunk, or an error in its place."""
    if not isinstance(data, dict):
        return False
    choices = data.get("choices") or []
    return isinstance(choices, list) and all(
        isinstance(one, dict) and isinstance(one.get("delta") or {}, dict) for one in choices
    )


def is_complete(response: bytes) -> bool:
    """Whether each choice has come to its end."""
    ends: dict[int, bool] = {}
    for chunk in chunks_of(response):
        for choice in chunk.get("choices") or []:
            index = choice.get("index", 0)
            ends[index] = ends.get(index, False) or bool(choice.get("finish_reason"))
    return bool(ends) and all(ends.values())


def without_usage(line: bytes) -> bytes | None:
    """The chunk for a caller that did not ask for the usage; None if it has nothing else."""
    chunk = json.loads(line)
    if "usage" not in chunk:
        return line
    if not chunk.get("choices"):
        return None
    del chunk["usage"]
    return json.dumps(chunk, separators=(",", ":")).encode()


def put_together(chunks: list[dict[str, Any]]) -> dict[str, Any]:
    """The completion that the chunks are the stream of."""
    whole: dict[str, Any] = {}
    choices: dict[int, dict[str, Any]] = {}
    for chunk in chunks:
        whole.update(
            (name, value) for name, value in chunk.items() if name not in OF_CHUNKS and value is not None
        )
        for part in chunk.get("choices") or []:
            index = part.get("index", 0)
            new = {"index": index, "message": {"role": "assistant", "content": None}}
            choice = choices.setdefault(index, new)
            merge(choice["message"], part.get("delta") or {})
            for name, value in part.items():
                if name == "logprobs":
                    choice[name] = merged(choice.get(name), value)
                elif name not in ("index", "delta") and value not in (None, {}):
                    # finish_reason, and content_filter_results, whose last ones hold
                    choice[name] = value
    for choice in choices.values():
        for name in ("finish_reason", "logprobs"):
            choice.setdefault(name, None)
        for call in choice["message"].get("tool_calls") or []:
            call.pop("index", None)
    ordered = [choices[index] for index in sorted(choices)]
    return {**whole, "object": "chat.completion", "choices": ordered}


def taken_apart(completion: dict[str, Any]) -> list[dict[str, Any]]:
    """Chunks that are the stream of the completion."""
    base = {name: value for name, value in completion.items() if name not in ("choices", "usage")}
    base["object"] = "chat.completion.chunk"
    choices = []
    for choice in completion["choices"]:
        delta = dict(choice.get("message") or {})
        if calls := delta.get("tool_calls"):
            delta["tool_calls"] = [{"index": index, **call} for index, call in enumerate(calls)]
        rest = {name: value for name, value in choice.items() if name != "message"}
        choices.append({**rest, "delta": delta})
    chunks = [{**base, "choices": choices}]
    if usage := completion.get("usage"):
        chunks.append({**base, "choices": [], "usage": usage})
    return chunks


def merge(into: dict[str, Any], delta: dict[str, Any]) -> None:
    for name, value in delta.items():
        if name in ("role", "type", "id", "index"):
            into[name] = value if value is not None else into.get(name)
        else:
            into[name] = merged(into.get(name), value)


def merged(old: Any, new: Any) -> Any:
    """Texts are joined, lists with an index merged by it, other lists joined, objects merged."""
    if old is None or new is None:
        if isinstance(new, list) and new and isinstance(new[0], dict) and "index" in new[0]:
            return merged([], new)
        return old if new is None else new
    if isinstance(old, str) and isinstance(new, str):
        return old + new
    if isinstance(old, dict) and isinstance(new, dict):
        merge(old, new)
        return old
    if isinstance(old, list) and isinstance(new, list):
        for one in new:
            same = [
                known for known in old if isinstance(one, dict) and known.get("index", -1) == one.get("index")
            ]
            if same:
                merge(same[0], one)
            else:
                old.append(one)
        return old
    return new
