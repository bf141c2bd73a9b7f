"""What a member has missed: small entries on the others, worked off when it is back.

    hints/<id of the member>/<nonce>     {"key": …, "verb": "copy", "delete" or "erase"}
    hints/<id of the member>/all         too many to tell: a repair must look at everything

Only a help: what no hint tells of, a repair finds.
"""

from __future__ import annotations

import json
import logging
import secrets
import time
from collections import Counter
from collections.abc import Iterator
from functools import partial

from backends.base import Backend
from backends.errors import Corrupt, InvalidKey, NotFound, StorageError
from backends.helpers import erase
from backends.keys import validate_key
from backends.replica.asking import answer_within, answers
from backends.replica.lane import Lane
from backends.replica.listing import open_streams, union
from backends.replica.member import WRITE_SECONDS, Member
from backends.replica.mending import Mending, done_by
from backends.replica.opening import Opening
from backends.replica.roster import Roster
from backends.replica.writing import SetWriter

log = logging.getLogger(__name__)
PREFIX = "hints/"
ALL = "all"
COPY, DELETE, ERASE = "copy", "delete", "erase"
MAX_HINTS = 10_000
"""That one process writes for a member before it writes ALL instead."""
MAX_HINT_BYTES = 4096
ERASE_SECONDS = 600.0
"""A member may have to look through all that it has."""
_HINT_SECONDS = 60.0


class Hints:
    """Writes and works off hints, in the background."""

    def __init__(self, roster: Roster, opening: Opening, mending: Mending) -> None:
        self._roster, self._opening, self._mending = roster, opening, mending
        self._lane = Lane("hints", threads=1)
        self._written: Counter[str] = Counter()
        self._lost: set[str] = set()

    def note(self, verb: str, key: str, member: Member) -> None:
        """Remember that a member has missed something; never waits."""
        if key.startswith(PREFIX):
            return  # what is lost of hints is found by a repair
        for id_ in self._ids(member):
            self._written[id_] += 1
            name = secrets.token_hex(8) if self._written[id_] < MAX_HINTS else ALL
            if self._written[id_] <= MAX_HINTS:
                data = json.dumps({"key": key, "verb": verb}).encode()
                hint = f"{PREFIX}{id_}/{name}"
                written = self._lane.submit(partial(self._write, hint, data, id_), _HINT_SECONDS)
                if written.done() and written.exception():  # there are too many at once
                    self._lost.add(id_)

    def wait(self) -> None:
        """Wait until what was noted is written; it is not where no other member can be reached.

        Blocks on: a write for each hint before it, _HINT_SECONDS at most.
        """
        # One thread takes them in turn.
        answer_within(self._lane.submit(lambda: None, _HINT_SECONDS), _HINT_SECONDS, "late")

    def pending(self, member: Member) -> Iterator[str]:
        """Yield the keys of a member's hints, as far as the others tell. Raises: Unavailable.

        From anywhere on, then the rest: several processes should not do the same work.
        """
        prefix = f"{PREFIX}{member.id}/"
        others = [m for m in self._roster.counting if m is not member] if member.id else []
        first = prefix + secrets.token_hex(8)
        for after, before in ((first, "~"), ("", first)):
            streams, _ = open_streams(others, prefix, after, len(others))
            for key, _holders in union(streams):
                if key > before:
                    break
                yield key

    def drain(self, member: Member, until: float) -> bool:
        """Do what the hints of a member say, as long as it can be done, and time is left.

            until  by time.monotonic()
        Returns: whether everything must be looked at. Raises: Unavailable, Full.
        """
        everything = (member.id or "") in self._lost
        self._lost.discard(member.id or "")
        for hint in self.pending(member):
            if time.monotonic() > until:
                return everything
            if hint.endswith(f"/{ALL}"):
                everything = True
                continue
            try:
                self._do(hint, member)
            except (NotFound, Corrupt) as exc:
                log.debug("%s is of no use any more: %s", hint, exc)
            self.drop(hint)
        self._written.pop(member.id or "", None)
        return everything

    def drop(self, hint: str) -> None:
        """Remove a hint wherever it can be; one that comes back does no harm."""
        asked = [(m, m.tell(lambda b: b.delete(hint))) for m in self._roster.written]
        for member, answer in answers(asked, WRITE_SECONDS):
            if isinstance(answer, StorageError):
                log.debug("%s keeps %s: %s", member.name, hint, answer)

    def _do(self, hint: str, member: Member) -> None:
        with self._opening.open(hint, (0, None)) as reader:
            verb, key = _parse(reader.read(MAX_HINT_BYTES))
        if verb in _REMOVE and not self._is_there(key, member):
            remove, seconds = _REMOVE[verb]
            done_by(member.tell(lambda backend: remove(backend, key), seconds), member, seconds)
            # It may have been written again since, here too: then what was written is to stay.
            if not self._is_there(key, member):
                return
        self._mending.copy_if_absent(key, member)

    def _is_there(self, key: str, member: Member) -> bool:
        """Whether another member has the key by now: then it was written again."""
        try:
            self._opening.open(key, (0, None), without=member).close()
        except NotFound:
            return False
        return True

    def _write(self, hint: str, data: bytes, id_: str) -> None:
        others = [member for member in self._roster.written if member.id != id_]
        try:
            with SetWriter(others, lambda _: True, lambda: 1, lambda *_: None) as writer:
                writer.write(data)
                writer.commit(hint)
        except StorageError as exc:
            log.debug("%s is not written, a repair will find it: %s", hint, exc)
            self._lost.add(id_)

    def _ids(self, member: Member) -> list[str]:
        """The id of a member; if it was never reached, of all that were not."""
        if member.id is not None:
            return [member.id]
        known = {m.id for m in self._roster.all}
        marker = self._roster.marker
        return [id_ for id_ in (*marker.members, *marker.joining) if id_ not in known]


def _delete(backend: Backend, key: str) -> None:
    backend.delete(key)


_REMOVE = {DELETE: (_delete, WRITE_SECONDS), ERASE: (erase, ERASE_SECONDS)}


def _parse(data: bytes) -> tuple[str, str]:
    """Read a hint: verb and key. Raises: Corrupt."""
    try:
        told = json.loads(data)
        return str(told["verb"]), validate_key(told["key"])
    except (ValueError, LookupError, TypeError, RecursionError, InvalidKey) as exc:
        raise Corrupt("no hint of ours") from exc
