"""Owns reading JSON that strangers wrote: one meaning for everybody, or no value at all.

Python's json takes UTF-16, NaN, 1e400, duplicate keys, lone surrogates and any depth; two readers
of one manifest could then see two manifests. Here all of that is an error.
Spec: RFC 8259; RFC 7493 (I-JSON).
"""

from __future__ import annotations

import json
import math

MAX_DEPTH = 64
"""Deepest nesting of arrays and objects."""

_MAX_DIGITS = 64


class JsonInvalid(ValueError):
    """The bytes are not JSON, or JSON that two readers may understand differently."""


def loads(body: bytes) -> object:
    """Return the value that body writes in UTF-8. Raises: JsonInvalid, and nothing else."""
    try:
        text = body.decode("utf-8")
        value: object = json.loads(
            text,
            object_pairs_hook=_object,
            parse_constant=_constant,
            parse_int=_integer,
            parse_float=_number,
        )
    except UnicodeDecodeError as exc:
        raise JsonInvalid("not UTF-8") from exc
    except json.JSONDecodeError as exc:
        raise JsonInvalid(f"not JSON: {exc.msg} at character {exc.pos}") from exc
    except RecursionError as exc:
        raise JsonInvalid("nested too deeply") from exc
    _check_depth(value)
    if "\\u" in text:
        _check_characters(value)
    return value


def _object(pairs: list[tuple[str, object]]) -> dict[str, object]:
    result = dict(pairs)
    if len(result) != len(pairs):
        raise JsonInvalid("duplicate key in an object")
    return result


def _constant(text: str) -> object:
    raise JsonInvalid(f"{text} is not JSON")


def _integer(text: str) -> int:
    if len(text) > _MAX_DIGITS:
        raise JsonInvalid("number with too many digits")
    return int(text)


def _number(text: str) -> float:
    number = float(text)
    if math.isinf(number):
        raise JsonInvalid("number too large")
    return number


def _check_depth(value: object) -> None:
    level: list[object] = [value]
    for _ in range(MAX_DEPTH):
        level = [child for node in level for child in _containers(node)]
        if not level:
            return
    raise JsonInvalid("nested too deeply")


def _containers(node: object) -> list[object]:
    """The arrays and objects directly in an array or object."""
    inner = node.values() if isinstance(node, dict) else node if isinstance(node, list) else ()
    return [child for child in inner if isinstance(child, dict | list)]


def _check_characters(value: object) -> None:
    """Refuse escapes of half a surrogate pair: they cannot be written out again."""
    try:
        json.dumps(value, ensure_ascii=False).encode("utf-8")
    except UnicodeEncodeError as exc:
        raise JsonInvalid("lone surrogate in a string") from exc
