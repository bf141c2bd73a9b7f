"""Small entries in one call, and capabilities where there are any, over any backend."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import takewhile

from backends.base import Backend, Copies, Erases, HasSpace, Reader, Settles, Space
from backends.errors import Corrupt, NotFound


def put(backend: Backend, key: str, data: bytes) -> None:
    """Store a small entry, durable on return. Raises: as Writer.commit."""
    with backend.create() as writer:
        writer.write(data)
        writer.commit(key)


def exists(backend: Backend, key: str) -> bool:
    """Whether there is an entry. Raises: as Backend.stat, but for NotFound."""
    try:
        backend.stat(key)
    except NotFound:
        return False
    return True


def put_once(backend: Backend, key: str) -> None:
    """Write an empty entry unless it is there. Raises: Full, Unavailable."""
    if not exists(backend, key):
        put(backend, key, b"")


def keys_beginning(backend: Backend, start: str) -> Iterator[str]:
    """Yield the keys that begin with a text, which may end within a name. Raises: Unavailable."""
    keys = backend.keys(start[: start.rindex("/") + 1], start)
    return takewhile(lambda key: key.startswith(start), keys)


def settle(backend: Backend, key: str) -> None:
    """Let an acknowledgement rest on an entry that was found, not written. Raises: see Settles."""
    if isinstance(backend, Settles):
        backend.settle(key)


def restore(backend: Backend, source: str, target: str) -> None:
    """Give target the bytes of source, to keep when source is erased. Raises: see Copies."""
    call = backend.copy if isinstance(backend, Copies) else backend.link
    call(source, target)


def erase(backend: Backend, key: str) -> None:
    """Delete an entry, and bytes that nothing else names now, not later. Raises: see Erases."""
    call = backend.erase if isinstance(backend, Erases) else backend.delete
    call(key)


def space_of(backend: Backend) -> Space | None:
    """Return the room left in a storage; None = it does not know. Raises: Unavailable."""
    return backend.space() if isinstance(backend, HasSpace) else None


def read_all(backend: Backend, key: str, limit: int) -> bytes:
    """Return a whole small entry.

        limit   bytes; an entry that is larger was not written by us
    Raises: NotFound, Unavailable, Corrupt (larger than limit, or cut short), InvalidKey.
    """
    with backend.open(key) as reader:
        if reader.size > limit:
            raise Corrupt(f"{key}: {reader.size} bytes, at most {limit} expected")
        return reader.read()


def read_exactly(reader: Reader, n: int) -> bytes:
    """Read n bytes. Raises: Corrupt if the entry ends before; Unavailable."""
    parts = [reader.read(n)]
    while (missing := n - sum(map(len, parts))) > 0:
        parts.append(reader.read(missing))
        if not parts[-1]:
            raise Corrupt("the entry ends before its size")
    return parts[0] if len(parts) == 1 else b"".join(parts)
