"""Readers: a small entry is in memory, the bytes of a large one stream from its data object."""

from __future__ import annotations

import logging
import time
from typing import Any, Self

from backends.errors import Corrupt, NotFound, Unavailable
from backends.s3.client import Client

_log = logging.getLogger(__name__)
READ_BYTES = 256 * 1024
RESUME_SECONDS = 15.0
RESUMES = 8
"""Connections that may break one after the other without a byte, within RESUME_SECONDS."""
_PAUSE_SECONDS = 0.1


class SmallReader:
    """A Reader over bytes in memory."""

    def __init__(self, data: bytes, start: int, stop: int) -> None:
        self.size = len(data)
        self._left = memoryview(data)[start:stop]

    def read(self, n: int = -1) -> bytes:
        """See Reader.read."""
        n = len(self._left) if n < 0 else n
        data, self._left = bytes(self._left[:n]), self._left[n:]
        return data

    def close(self) -> None:
        """See Reader.close."""
        self._left = memoryview(b"")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


class DataReader:
    """Streams a range of a data object over one connection, and goes on where that breaks.

    What the kernel receives meanwhile is the read-ahead. The object is the same one to the end: its
    name is used once, and its ETag must stay. The first answer is there before the constructor
    returns.

        size         bytes that the data object must have
        start, stop  bytes, 0 <= start <= stop <= size
    Raises: Corrupt (no such data, or of another size), Unavailable.
    """

    def __init__(self, client: Client, name: str, size: int, start: int, stop: int) -> None:
        self.size = size
        self._client, self._name = client, name
        self._position, self._stop = start, stop
        self._etag = ""
        self._body: Any = None
        if start < stop:
            self._connect()

    def read(self, n: int = -1) -> bytes:
        """See Reader.read. Raises: Unavailable after 15 s without a byte, Corrupt."""
        if n >= 0:
            return self._read(min(n, READ_BYTES))
        return b"".join(iter(lambda: self._read(READ_BYTES), b""))

    def _read(self, n: int) -> bytes:
        wanted = min(n, self._stop - self._position)
        if wanted == 0:
            return b""
        began = time.monotonic()
        for attempt in range(RESUMES):
            try:
                if self._body is None:
                    self._connect()
                data = self._client.read(self._body, wanted)
            except Unavailable as exc:
                self.close()
                pause = _PAUSE_SECONDS * 2**attempt
                if time.monotonic() + pause > began + RESUME_SECONDS:
                    raise
                _log.info("reading goes on at byte %d: %s", self._position, exc)
                time.sleep(pause)
            else:
                self._position += len(data)
                return data
        raise Unavailable(f"{self._client.place}: {RESUMES} connections broke one after the other")

    def _connect(self) -> None:
        try:
            piece = self._client.get(self._name, self._position, self._stop, self._etag)
        except NotFound as exc:
            raise Corrupt(f"{self._client.place}: {self._name} is gone, but named") from exc
        self._body, self._etag = piece.body, piece.etag
        if piece.total != self.size:
            self.close()
            raise Corrupt(f"{self._name} has {piece.total} bytes instead of {self.size}")

    def close(self) -> None:
        """See Reader.close."""
        body, self._body = self._body, None
        if body is not None:
            body.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()
