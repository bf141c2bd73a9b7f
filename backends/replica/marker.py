"""The identity file of a member: which set it belongs to, and who else does. Pure.

A member has two files below `_store/`: the id of the set, which is the id of the storage that all
of them are, and an id of its own. The second one also says who the members are. The list with the
highest generation is in force, whatever a configuration says: so servers that are configured in
different ways still agree on how many members are enough.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace

from backends.identity import FORMAT


@dataclass(frozen=True, slots=True)
class Marker:
    """What a member says of itself and of its set.

    member      its id
    set_id      the id of the set
    generation  rises with each change of the list
    members     ids of those that count
    joining     ids of those that get what is written, and are being filled
    frozen      the list is being changed: nothing is written meanwhile
    A generation of 0 is that of a set in which not all members have their identity yet.
    """

    member: str
    set_id: str
    generation: int
    members: tuple[str, ...]
    joining: tuple[str, ...] = ()
    frozen: bool = False

    @property
    def data(self) -> bytes:
        """The contents of the file."""
        return (
            json.dumps(
                {
                    "format": FORMAT,
                    "set": self.set_id,
                    "generation": self.generation,
                    "members": self.members,
                    "joining": self.joining,
                    "frozen": self.frozen,
                }
            ).encode()
            + b"\n"
        )

    def of(self, member: str) -> Marker:
        """Return the same for another member."""
        return replace(self, member=member)


def parse(member: str, data: bytes) -> Marker | None:
    """Read an identity file; None for that of a storage which is no member of a set."""
    try:
        told = json.loads(data)
        return Marker(
            member=member,
            set_id=_text(told["set"]),
            generation=int(told["generation"]),
            members=tuple(map(_text, told["members"])),
            joining=tuple(map(_text, told["joining"])),
            frozen=bool(told["frozen"]),
        )
    except (ValueError, LookupError, TypeError, RecursionError):
        return None


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError
    return value
