"""Writers: a small entry becomes one object; a large one data under a random name, then a pointer.

Nothing is copied, nothing is kept on a local disk, and at most two parts are in memory.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Self

from backends.errors import StorageError, Unavailable
from backends.s3.client import Body, Client
from backends.s3.entries import SMALL_BYTES, Pointer, encode_small, new_data_id
from backends.s3.multipart import MIN_PART_BYTES, Multipart, part_bytes

MAX_UPLOAD_SECONDS = 24 * 3600
MAX_NAMING_SECONDS = 3600
"""Some servers count the age of an object from the beginning of its upload. Together far less than
the 48 h from which on a sweep may take data that nothing names."""


def now() -> float:
    """Seconds that pass also while the machine sleeps: a clock for limits that guard data."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def require_young(begun: float, limit: float, what: str) -> None:
    """Refuse to write a pointer so late that a sweep may have taken its data. Raises: Unavailable.

    begun  by now()
    limit  seconds
    """
    if now() - begun > limit:
        raise Unavailable(f"{what} took longer than {limit / 3600:.0f} h and is given up")


class EntryWriter:
    """A Writer into a bucket. Any failure ends it.

    guard  raises Unavailable unless the bucket is still the storage that it was
    An upload may take a day, and its pointer has to be written within an hour of its last byte.
    """

    def __init__(self, client: Client, guard: Callable[[], None]) -> None:
        self._client, self._guard = client, guard
        self._begun = now()
        self._id = new_data_id()
        self._size = 0
        self._part: Body | None = Body()
        self._upload: Multipart | None = None

    def write(self, data: bytes | memoryview) -> None:
        """See Writer.write."""
        self._open_part()
        view = memoryview(data)
        try:
            while view:
                part, room = self._room()
                done = part.write(view[:room])
                self._size += done
                view = view[done:]
        except StorageError:
            self.abort()
            raise

    def commit(self, key: str) -> None:
        """See Writer.commit."""
        try:
            part = self._open_part()
            name = self._client.place.entry(key)
            self._guard()
            held = encode_small(part.getvalue()) if self._is_small() else self._store(part)
            self._client.put(name, held)
        finally:
            self.abort()

    def abort(self) -> None:
        """See Writer.abort."""
        self._part = None
        upload, self._upload = self._upload, None
        if upload is not None:
            upload.abort()

    def _open_part(self) -> Body:
        if self._part is None:
            raise Unavailable("this writer is finished")
        return self._part

    def _room(self) -> tuple[Body, int]:
        """Return the part to write to, and the bytes that it takes; begins a new one when full."""
        part = self._open_part()
        limit = part_bytes(self._upload.next_number) if self._upload else MIN_PART_BYTES
        if part.tell() < limit:
            return part, limit - part.tell()
        if self._upload is None:
            self._upload = Multipart(self._client, self._client.place.data(self._id))
        self._upload.add(part)
        self._part = Body()
        return self._part, part_bytes(self._upload.next_number)

    def _is_small(self) -> bool:
        return self._upload is None and self._size <= SMALL_BYTES

    def _store(self, last: Body) -> bytes:
        """Store the data; return what its pointer holds."""
        closing = now()
        if self._upload is None:
            self._client.call("put_object", last, Key=self._client.place.data(self._id))
        else:
            self._upload.add(last)
            self._upload.complete()
            self._upload = None
        require_young(self._begun, MAX_UPLOAD_SECONDS, "this upload")
        require_young(closing, MAX_NAMING_SECONDS, "naming this upload")
        return Pointer(self._id, self._size).encode()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.abort()
