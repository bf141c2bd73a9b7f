"""What a WWW-Authenticate header asks for. Pure.

Spec: RFC 9110 §11.6.1; the token protocol of the distribution project (realm, service, scope).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

MAX_HEADER = 8192
_WORD = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_QUOTED = r'"(?:[^"\\]|\\.)*"'
_ITEM = re.compile(
    rf"[\s,]*(?:(?P<key>{_WORD})\s*=\s*(?P<value>{_QUOTED}|{_WORD})|(?P<scheme>{_WORD}))"
)


@dataclass(frozen=True, slots=True)
class Challenge:
    """One scheme, in lower case, and its parameters, their names in lower case."""

    scheme: str
    parameters: Mapping[str, str]


def parse_challenges(header: str) -> tuple[Challenge, ...]:
    """Return the challenges of a header; what cannot be understood ends the list."""
    found: list[tuple[str, dict[str, str]]] = []
    position, text = 0, header[:MAX_HEADER]
    while match := _ITEM.match(text, position):
        position = match.end()
        if match["scheme"]:
            found.append((match["scheme"].lower(), {}))
        elif found:
            found[-1][1].setdefault(match["key"].lower(), _unquoted(match["value"]))
    return tuple(Challenge(scheme, parameters) for scheme, parameters in found)


def _unquoted(value: str) -> str:
    return re.sub(r"\\(.)", r"\1", value[1:-1]) if value.startswith('"') else value
