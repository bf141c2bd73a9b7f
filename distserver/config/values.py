"""Values of configuration keys, from TOML or from a variable's text, by the type of the key."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

_INTEGER = re.compile(r"-?[0-9]{1,18}", re.ASCII)
_BOOLEANS = {"true": True, "1": True, "false": False, "0": False}


def read_value(hint: Any, value: Any) -> Any:
    """Return the value for a key whose type hint this is.

    Raises: ValueError whose text says in words what is wanted.
    """
    read, wanted = _READERS[hint]
    try:
        return read(value)
    except (TypeError, ValueError, LookupError, AttributeError) as exc:
        raise ValueError(wanted) from exc


def _texts(value: Any) -> tuple[str, ...]:
    if isinstance(value, str):
        value = [part.strip() for part in value.split(",")]
    return tuple(_text(item) for item in value if item)


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError
    return value


def _integer(value: Any) -> int:
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    if not _INTEGER.fullmatch(_text(value)):
        raise ValueError
    return int(value)


def _integers(value: Any) -> Mapping[str, int]:
    return {_text(name): _integer(number) for name, number in value.items()}


def _boolean(value: Any) -> bool:
    return value if isinstance(value, bool) else _BOOLEANS[_text(value)]


_READERS: dict[Any, tuple[Callable[[Any], Any], str]] = {
    str: (_text, "a text"),
    int: (_integer, "a whole number"),
    int | None: (_integer, "a whole number"),
    bool: (_boolean, "true or false"),
    bool | None: (_boolean, "true or false"),
    tuple[str, ...]: (_texts, "a list of texts"),
    Mapping[str, int]: (_integers, "a table of whole numbers"),
}
