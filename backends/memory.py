"""The reference implementation of the contract: entries in a dictionary.

For tests and for trying things out. Durable only as long as the process lives, and each process has
its own entries (a fork copies them). Single operations on a dict are atomic, so readers need no
lock; a move is two, with nothing written in between.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from typing import NamedTuple, Self

from backends.base import Entry, Reader, Writer
from backends.errors import NotFound, RangeInvalid, Unavailable
from backends.keys import validate_key, validate_prefix

_writing = threading.Lock()


def _forget_lock() -> None:
    global _writing
    _writing = threading.Lock()


os.register_at_fork(after_in_child=_forget_lock)  # another thread of the parent may have held it


class _Stored(NamedTuple):
    data: bytes
    modified: float


class Memory:
    """A backend that keeps entries in this process."""

    def __init__(self) -> None:
        self._entries: dict[str, _Stored] = {}

    def stat(self, key: str) -> Entry:
        """See Backend.stat."""
        stored = self._stored(key)
        return Entry(len(stored.data), stored.modified)

    def open(self, key: str, start: int = 0, stop: int | None = None) -> Reader:
        """See Backend.open."""
        data = self._stored(key).data
        stop = len(data) if stop is None else stop
        if not 0 <= start <= stop <= len(data):
            raise RangeInvalid(f"{key}: {start}..{stop} of {len(data)}")
        return _MemoryReader(data, start, stop)

    def create(self) -> Writer:
        """See Backend.create."""
        return _MemoryWriter(self._entries)

    def link(self, source: str, target: str) -> None:
        """See Backend.link."""
        validate_key(target)
        with _writing:
            self._entries[target] = self._stored(source)

    def move(self, source: str, target: str) -> None:
        """See Moves.move."""
        validate_key(target)
        with _writing:
            self._entries[target] = self._stored(source)
            if source != target:
                self._entries.pop(source, None)

    def delete(self, key: str) -> None:
        """See Backend.delete."""
        self._entries.pop(validate_key(key), None)

    def keys(self, prefix: str, after: str = "", settle: bool = False) -> Iterator[str]:
        """See Backend.keys; the keys of the moment of the call."""
        validate_prefix(prefix)
        return iter(sorted(k for k in list(self._entries) if k.startswith(prefix) and k > after))

    def _stored(self, key: str) -> _Stored:
        try:
            return self._entries[validate_key(key)]
        except KeyError as exc:
            raise NotFound(key) from exc


class _MemoryReader:
    def __init__(self, data: bytes, start: int, stop: int) -> None:
        self.size = len(data)
        self._data, self._position, self._stop = data, start, stop

    def read(self, n: int = -1) -> bytes:
        start = self._position
        self._position = self._stop if n < 0 else min(self._stop, start + n)
        return self._data[start : self._position]

    def close(self) -> None:
        self._data, self._position, self._stop = b"", 0, 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


class _MemoryWriter:
    def __init__(self, entries: dict[str, _Stored]) -> None:
        self._entries = entries
        self._chunks: list[bytes] | None = []

    def write(self, data: bytes | memoryview) -> None:
        if self._chunks is None:
            raise Unavailable("this writer is finished")
        self._chunks.append(bytes(data))

    def commit(self, key: str) -> None:
        chunks, self._chunks = self._chunks, None
        if chunks is None:
            raise Unavailable("this writer is finished")
        with _writing:
            self._entries[validate_key(key)] = _Stored(b"".join(chunks), time.time())

    def abort(self) -> None:
        self._chunks = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.abort()
