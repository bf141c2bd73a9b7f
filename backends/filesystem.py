"""Entries as files below one directory: a local disk, a PVC or a network mount.

The key is the path. Durable by the order of backends.durable. Never blocked longer than the kernel
blocks: a hard network mount that hangs, hangs us. The modules that call the kernel do so as os.name
(filesystem, files, lookups, temporaries, durable, walk, room, root, witness), so that tests replace
`os` there.
"""

from __future__ import annotations

import errno
import os
import stat
import time
from collections.abc import Callable, Iterator
from typing import TypeVar

from backends import durable, lookups, temporaries, witness
from backends.base import Backend, Entry, Reader, Space, Writer
from backends.errors import NotFound, RangeInvalid, StorageError, Unavailable
from backends.failures import unavailable, write_failure
from backends.files import FileReader, FileWriter
from backends.keys import TEMPORARY, parent, validate_key, validate_prefix
from backends.room import Room
from backends.root import Held, Root, close_quietly
from backends.walk import names, walk

_T = TypeVar("_T")
_COPY_BYTES = 1024 * 1024
_TRUST_AFTER_NS = 2_000_000_000
_NO_HARD_LINKS = frozenset(
    {errno.EXDEV, errno.EPERM, errno.EMLINK, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS}
)


class Filesystem:
    """A backend over a directory that exists.

    root             path; opened at the first use, not before
    expected_id      the storage id that must be among its ids; None = the first one met
    reserve_bytes    room that entries above 64 KiB leave; None = max(1 GiB, 2 %)
    reserve_inodes   the same for inodes; None = max(1000, 2 %)
    """

    def __init__(
        self,
        root: str | os.PathLike[str],
        *,
        expected_id: str | None = None,
        reserve_bytes: int | None = None,
        reserve_inodes: int | None = None,
    ) -> None:
        self._reserve = (reserve_bytes, reserve_inodes)
        self._root = Root(os.fspath(root), witness.Known(expected_id))
        self._room = Room(self._root, *self._reserve)

    def stat(self, key: str) -> Entry:
        """See Backend.stat. A link has the time of the bytes it names."""
        status = self._lookup(validate_key(key), lookups.status_of)
        return Entry(status.st_size, status.st_mtime)

    def open(self, key: str, start: int = 0, stop: int | None = None) -> Reader:
        """See Backend.open."""
        fd, size = self._lookup(validate_key(key), lookups.open_entry)
        try:
            stop = size if stop is None else stop
            if not 0 <= start <= stop <= size:
                raise RangeInvalid(f"{key}: {start}..{stop} of {size}")
            return FileReader(fd, size, start, stop)
        except StorageError:
            close_quietly(fd)
            raise

    def create(self) -> Writer:
        """See Backend.create."""
        return FileWriter(self._root, self._room)

    def link(self, source: str, target: str) -> None:
        """See Backend.link: a hard link, or a copy where the file system has none."""
        validate_key(target)
        status = self._lookup(validate_key(source), lookups.status_of)
        held = self._root.held()
        name = temporaries.new_name()
        try:
            temporaries.hard_link(held, source, name)
        except FileNotFoundError as exc:
            raise self._absent(held, source) from exc
        except OSError as exc:
            if exc.errno not in _NO_HARD_LINKS:
                raise write_failure(exc, target) from exc
            return self._copy(source, target)
        try:
            durable.place(held, name, target, (status.st_dev, status.st_ino), held.fd)
        except OSError as exc:
            raise write_failure(exc, target) from exc
        finally:
            # A rename onto another name of the same file does nothing and leaves this one.
            temporaries.discard(held, name)
        return durable.settle(held, parent(target))

    def delete(self, key: str) -> None:
        """See Backend.delete. A session below _uploads/ loses its directory with its last entry."""
        validate_key(key)
        try:
            durable.remove(self._root.held(), key)
        except OSError as exc:
            raise unavailable(exc, key) from exc

    def keys(self, prefix: str, after: str = "", settle: bool = False) -> Iterator[str]:
        """See Backend.keys. Memory: the names of the directories on one path."""
        return walk(self._names, validate_prefix(prefix), after)

    def adopt(self, path: str, key: str) -> None:
        """See Adopts.adopt."""
        validate_key(key)
        held = self._root.held()
        try:
            mark = lookups.sync_file(path)
        except FileNotFoundError as exc:
            raise NotFound(path) from exc
        except OSError as exc:
            raise unavailable(exc, path) from exc
        try:
            durable.place(held, path, key, mark, None)
        except OSError as exc:
            raise write_failure(exc, key) from exc
        _unlink_if_there(path)
        durable.settle(held, parent(key))

    def move(self, source: str, target: str) -> None:
        """See Moves.move: rename(2)."""
        validate_key(target)
        status = self._lookup(validate_key(source), lookups.status_of)
        held, mark = self._root.held(), (status.st_dev, status.st_ino)
        try:
            if durable.is_at(held, target, mark):
                # A rename onto another name of the same file would do nothing.
                self._copy(source, target)
            durable.place(held, source, target, mark, held.fd)
        except FileNotFoundError as exc:
            raise self._absent(held, source) from exc
        except OSError as exc:
            raise write_failure(exc, target) from exc
        # In this order, so that loss of power never leaves neither name.
        durable.settle(held, parent(target))
        try:
            durable.leave(held, parent(source))
        except OSError as exc:
            raise unavailable(exc, source) from exc

    def revision(self, prefix: str) -> tuple[int, ...] | None:
        """See Revises.revision: (device, inode, mtime ns, ctime ns) on local file systems."""
        directory = validate_prefix(prefix)[:-1] or "."
        held = self._root.held()
        if not held.local:
            return None
        now = time.time_ns()
        try:
            status = os.stat(directory, dir_fd=held.fd, follow_symlinks=False)
        except FileNotFoundError:
            return None
        except OSError as exc:
            raise unavailable(exc, prefix) from exc
        newest = max(status.st_mtime_ns, status.st_ctime_ns)
        if now - newest < _TRUST_AFTER_NS or not stat.S_ISDIR(status.st_mode):
            return None
        return status.st_dev, status.st_ino, status.st_mtime_ns, status.st_ctime_ns

    def local_path(self, key: str) -> str:
        """See LocalPath.local_path."""
        self.stat(key)
        return os.path.join(self._root.path, key)

    def is_local(self) -> bool:
        """See KnowsPlace.is_local; no before the first use."""
        return self._root.is_local()

    def space(self) -> Space:
        """See HasSpace.space."""
        return self._room.space()

    def sweep(self, max_age_seconds: float = 86400) -> int:
        """See Sweeps.sweep. A file from the future is as old as it is far ahead."""
        held = self._root.held()
        try:
            return temporaries.sweep(held, max_age_seconds)
        except FileNotFoundError:
            return 0
        except OSError as exc:
            raise unavailable(exc, TEMPORARY) from exc

    def unguarded(self) -> Backend:
        """See Guarded.unguarded."""
        twin = Filesystem(self._root.path)
        twin._root = Root(self._root.path, witness.anything)
        twin._room = Room(twin._root, *self._reserve)
        return twin

    def blank(self) -> bool:
        """See Guarded.blank."""
        held = Root(self._root.path, witness.anything).held()
        try:
            return witness.blank(held.fd)
        except OSError as exc:
            raise unavailable(exc, self._root.path) from exc

    def _lookup(self, key: str, call: Callable[[Held, str], _T]) -> _T:
        """Call with the root in place; once more when a network file system forgot our handle."""
        held = self._root.held()
        try:
            try:
                return call(held, key)
            except OSError as exc:
                if exc.errno != errno.ESTALE:
                    raise
            self._root.forget()
            held = self._root.held()
            return call(held, key)
        except FileNotFoundError as exc:
            raise self._absent(held, key) from exc
        except OSError as exc:
            raise unavailable(exc, key) from exc

    def _absent(self, held: Held, key: str) -> NotFound | Unavailable:
        """Tell an absent key from a storage that went away while we asked."""
        if held.in_place():
            return NotFound(key)
        return Unavailable(f"{self._root.path} went away")

    def _names(self, prefix: str) -> list[str]:
        held = self._root.held()
        try:
            return names(held, prefix)
        except FileNotFoundError as exc:
            if not held.in_place():
                raise Unavailable(f"{self._root.path} went away") from exc
            return []
        except OSError as exc:
            raise unavailable(exc, prefix) from exc

    def _copy(self, source: str, target: str) -> None:
        with self.open(source) as reader, self.create() as writer:
            while data := reader.read(_COPY_BYTES):
                writer.write(data)
            writer.commit(target)


def _unlink_if_there(path: str) -> None:
    """Remove the second name that a rename onto the same file leaves.

    Raises: Unavailable whatever the errno, since the key is visible already.
    """
    try:
        os.unlink(path)
    except FileNotFoundError:
        return
    except OSError as exc:
        raise unavailable(exc, path) from exc
