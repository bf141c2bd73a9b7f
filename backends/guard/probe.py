"""The child that probes a directory: `python -m backends.guard.probe PATH [ID]`.

Says "ready", and answers each line on its input by one: "ok", or what hindered it in words. Ends
with its input, or when nobody listens any more (the process that asks was killed). It may hang in
the kernel; nobody waits for it without a deadline.
"""

from __future__ import annotations

import os
import sys
import uuid

from backends.base import Backend
from backends.errors import StorageError
from backends.filesystem import Filesystem
from backends.helpers import put, read_all

PREFIX = "hints/probes/"
PROBE_BYTES = 4096


def probe(files: Filesystem, key: str) -> str:
    """Write, sync, name, read back and delete 4 KiB; return "ok", or what hindered it.

    A storage that can only be read has to be used still: whoever writes is told why not.
    """
    try:
        files.space()
        next(iter(files.keys("_store/")), None)
    except StorageError as exc:
        return _one_line(f"it cannot be read: {exc}")
    try:
        return _written_and_read(files, key)
    except StorageError as exc:
        return _one_line(f"it cannot be written: {exc}")


def _written_and_read(backend: Backend, key: str) -> str:
    data = os.urandom(PROBE_BYTES)
    put(backend, key, data)
    same = read_all(backend, key, PROBE_BYTES) == data
    backend.delete(key)
    return "ok" if same else "what was written came back changed"


def _one_line(text: str) -> str:
    return " ".join(text.split())[:400]


def main(path: str, expected_id: str = "") -> None:
    """Answer until the input ends. Raises: BrokenPipeError when nobody listens any more."""
    files = Filesystem(path, expected_id=expected_id or None)
    key = f"{PREFIX}{uuid.uuid4()}"
    _say("ready")
    for _ in sys.stdin:
        _say(probe(files, key))


def _say(line: str) -> None:
    """Write a line at once, past what Python keeps to write at its end, too."""
    os.write(sys.stdout.fileno(), f"{line}\n".encode())


if __name__ == "__main__":
    try:
        main(*sys.argv[1:])
    except BrokenPipeError:
        sys.exit(1)
