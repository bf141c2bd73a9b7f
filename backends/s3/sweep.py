"""What dead writers and replaced entries leave: parts of uploads, and data that nothing names.

Data goes only when two looks, a day apart, found it older than 48 h and named by nothing. A pointer
that moves during a look (from an upload to its blob) may be missed by one of them, not by both; and
a reader of what was replaced has that day. No pointer to data of that age is still to come: see
writer. What a failed request or a listing cut short did not show is never taken for absent.

A look reads no pointer where ETags are MD5 sums, as nearly everywhere: what a pointer holds is
determined by what it names, so a listing of the entries tells which data is named.
"""

from __future__ import annotations

import hashlib
from array import array
from bisect import bisect_left
from collections.abc import Iterator
from typing import Any

from backends.errors import Corrupt, NotFound
from backends.s3.client import Client
from backends.s3.entries import POINTER_BYTES, Pointer, decode
from backends.s3.listing import Listed, age_of, listed, listed_entries
from backends.s3.place import EXAMINED

MIN_AGE_SECONDS = 48 * 3600.0
LOOK_SECONDS = 24 * 3600.0
MAX_CONDEMNED = 100_000
"""What a look finds beyond that waits for a later one."""
_ID_LINE_BYTES = 33
_NOTE = "swept"


class Sweep:
    """One sweep of a bucket, below our prefix only; any number may run beside each other."""

    def __init__(self, client: Client) -> None:
        self._client, self._place = client, client.place

    def __call__(self, max_age_seconds: float) -> int:
        """Remove what is older than that, and older than 48 h; return how many objects.

        Raises: Unavailable; then nothing was removed but what was due.
        """
        age = max(max_age_seconds, MIN_AGE_SECONDS)
        begins = (self._place.data(), self._place.own(EXAMINED))
        return sum(self._abort_uploads(one, age) for one in begins) + self._remove_data(age)

    def is_named(self, pointer: Pointer, besides: str) -> bool:
        """Whether an entry names that data, besides one, by the name of its object.

        Raises: Unavailable. Blocks on: a listing of all objects, a request for each 1,000.
        """
        others = Marks(_mark_of(id_, one) for id_, one in self._data() if id_ != pointer.data_id)
        unclear = (one.name for one in self._unclear(others) if one.name != besides)
        return any(pointer.data_id in self._named_by(name) for name in unclear)

    def _abort_uploads(self, prefix: str, age: float) -> int:
        """MinIO lists none (it drops them by itself after 24 h) and refuses a prefix `….`."""
        position: dict[str, Any] = {"KeyMarker": "", "UploadIdMarker": ""}
        aborted, more = 0, True
        while more:
            answer = self._client.call("list_multipart_uploads", Prefix=prefix, **position)
            for one in answer.get("Uploads", []):
                if age_of(answer, one["Initiated"]) >= age:
                    self._abort(one["Key"], one["UploadId"])
                    aborted += 1
            follows = {name: answer.get(f"Next{name}", "") for name in position}
            more, position = answer.get("IsTruncated", False) and follows != position, follows
        return aborted

    def _abort(self, name: str, upload_id: str) -> None:
        self._client.call("abort_multipart_upload", Key=name, UploadId=upload_id)

    def _remove_data(self, age: float) -> int:
        condemned, look_age = self._last_look()
        if look_age < LOOK_SECONDS:
            return 0
        unnamed = self._unnamed(age)
        doomed = unnamed & condemned
        for data_id in doomed:
            self._client.call("delete_object", Key=self._place.data(data_id))
        note = "\n".join([_NOTE, *sorted(unnamed - doomed)])
        self._client.put(self._place.own(_NOTE), note.encode())
        return len(doomed)

    def _last_look(self) -> tuple[set[str], float]:
        """What the last look found, and the seconds since then; infinity if there was none."""
        name = self._place.own(_NOTE)
        for one in listed(self._client, name):
            if one.name == name:
                data, _ = self._client.fetch(name, MAX_CONDEMNED * _ID_LINE_BYTES)
                return set(data.decode("ascii", "replace").split()), one.age
        return set(), float("inf")

    def _unnamed(self, age: float) -> set[str]:
        """Ids of data of at least that age that no entry names."""
        named = Marks(_mark_of_etag(one) for one in self._pointers())
        known, unnamed = array("Q"), set[str]()
        for data_id, one in self._data():
            mark = _mark_of(data_id, one)
            known.append(mark)
            if one.age >= age and mark not in named and len(unnamed) < MAX_CONDEMNED:
                unnamed.add(data_id)
        for one in self._unclear(Marks(known)) if unnamed else ():
            unnamed -= self._named_by(one.name)
        return unnamed

    def _unclear(self, known: Marks) -> Iterator[Listed]:
        """Entries whose ETag does not tell that they name one of these: they have to be read."""
        return (one for one in self._pointers() if _mark_of_etag(one) not in known)

    def _named_by(self, name: str) -> set[str]:
        try:
            head, piece = self._client.fetch(name, POINTER_BYTES)
            named = decode(name, head, piece.total)
        except (NotFound, Corrupt):  # gone since, or none of ours: it names nothing
            return set()
        return {named.data_id} if isinstance(named, Pointer) else set()

    def _pointers(self) -> Iterator[Listed]:
        """Entries that may be pointers."""
        return (one for one in listed_entries(self._client) if one.size == POINTER_BYTES)

    def _data(self) -> Iterator[tuple[str, Listed]]:
        """Data objects by their ids; what is not ours among them stays."""
        for one in listed(self._client, self._place.data()):
            data_id = one.name.rpartition("/")[2]
            if one.name == self._place.data(data_id):
                yield data_id, one


class Marks:
    """A set of 64-bit numbers, 8 bytes each: a storage may have millions of them."""

    def __init__(self, marks: Iterator[int] | array[int]) -> None:
        self._marks = array("Q", sorted(marks))

    def __contains__(self, mark: int) -> bool:
        at = bisect_left(self._marks, mark)
        return at < len(self._marks) and self._marks[at] == mark


def _mark_of(data_id: str, one: Listed) -> int:
    """Return the mark of the pointers that name a data object."""
    return _mark_of_content(Pointer(data_id, one.size).encode())


def _mark_of_content(data: bytes) -> int:
    digest = hashlib.md5(data, usedforsecurity=False)
    return int.from_bytes(digest.digest()[:8])


def _mark_of_etag(one: Listed) -> int:
    """Return the mark of an object's content if its ETag is its MD5 sum; else any number."""
    text = one.etag.strip('"')[:16]
    try:
        return int(text, 16)
    except ValueError:
        return 0
