"""Storages that each break one sentence of the contract, to see that check_storage finds it."""

from __future__ import annotations

from collections.abc import Iterator

from backends import Memory
from backends.base import Entry, Reader, Space, Writer
from backends.errors import NotFound, StorageError, Unavailable
from backends.memory import _MemoryWriter


class Changing(Memory):
    """Flips a byte of what it stores."""

    def open(self, key: str, start: int = 0, stop: int | None = None) -> Reader:
        reader = super().open(key, start, stop)
        whole = reader.read()
        reader.read = lambda n=-1: whole[:-1] + b"?" if whole else b""  # type: ignore[method-assign]
        return reader


class WrongSize(Memory):
    """Tells sizes in blocks."""

    def stat(self, key: str) -> Entry:
        return Entry(-(-super().stat(key).size // 512) * 512, 0.0)


class Clamping(Memory):
    """Takes any range and gives what there is of it."""

    def open(self, key: str, start: int = 0, stop: int | None = None) -> Reader:
        size = self.stat(key).size
        start = min(max(start, 0), size)
        return super().open(key, start, min(max(start, size if stop is None else stop), size))


class OffByOne(Memory):
    """Takes the end of a range as included, as HTTP does."""

    def open(self, key: str, start: int = 0, stop: int | None = None) -> Reader:
        size = self.stat(key).size
        inside = stop is not None and start <= stop < size
        return super().open(key, start, stop + 1 if inside and stop is not None else stop)


class Inventing(Memory):
    """Knows every key, with nothing in it."""

    def stat(self, key: str) -> Entry:
        return super().stat(key) if key in self._entries else Entry(0, 0.0)


class Mistaking(Memory):
    """Says unavailable of what is absent."""

    def stat(self, key: str) -> Entry:
        try:
            return super().stat(key)
        except NotFound as exc:
            raise Unavailable(key) from exc


class Early(Memory):
    """Shows an entry while it is written: names are chosen first."""

    def stat(self, key: str) -> Entry:
        return Entry(0, 0.0) if key.endswith("/late") else super().stat(key)


class Following(Memory):
    """Readers follow the entry instead of keeping its bytes."""

    def open(self, key: str, start: int = 0, stop: int | None = None) -> Reader:
        reader = super().open(key, start, stop)
        reader.read = lambda n=-1: Memory.open(self, key, start, stop).read(n)  # type: ignore[method-assign]
        return reader


class Keeping(Memory):
    """Keeps the first bytes of a key for ever."""

    def create(self) -> Writer:
        kept = dict(self._entries)
        writer = _MemoryWriter(self._entries)
        commit = writer.commit

        def keep(key: str) -> None:
            commit(key)
            if key in kept:
                self._entries[key] = kept[key]

        writer.commit = keep  # type: ignore[method-assign]
        return writer


class Aliasing(Memory):
    """A link dies with its source."""

    def link(self, source: str, target: str) -> None:
        super().link(source, target)
        self.links = {**getattr(self, "links", {}), source: target}

    def delete(self, key: str) -> None:
        super().delete(key)
        self._entries.pop(getattr(self, "links", {}).get(key, key), None)


class Leaving(Memory):
    """A move leaves the old name there."""

    def move(self, source: str, target: str) -> None:
        super().link(source, target)


class Unlinking(Memory):
    """Links only where there is no target yet."""

    def link(self, source: str, target: str) -> None:
        if target not in self._entries:
            super().link(source, target)


class Undead(Memory):
    """Deletes nothing."""

    def delete(self, key: str) -> None:
        return None


class Strict(Memory):
    """Will not delete twice."""

    def delete(self, key: str) -> None:
        self.stat(key)
        super().delete(key)


class ByComponent(Memory):
    """Lists in the order of the components, as a plain directory walk does."""

    def keys(self, prefix: str, after: str = "", settle: bool = False) -> Iterator[str]:
        return iter(sorted(super().keys(prefix, after), key=lambda key: key.split("/")))


class Inclusive(Memory):
    """Lists the key that the caller has already seen."""

    def keys(self, prefix: str, after: str = "", settle: bool = False) -> Iterator[str]:
        return iter([key for key in super().keys(prefix) if key >= after])


class Mixing(Memory):
    """Gives one entry's bytes for another's."""

    def open(self, key: str, start: int = 0, stop: int | None = None) -> Reader:
        return super().open(key[:-1] + "0" if "/connection-" in key else key, start, stop)


class NoUpperCase(Memory):
    """Cannot store a name in upper case at all."""

    def create(self) -> Writer:
        writer = _MemoryWriter(self._entries)
        commit = writer.commit

        def refuse(key: str) -> None:
            if key.endswith("/A"):
                raise Unavailable(key)
            commit(key)

        writer.commit = refuse  # type: ignore[method-assign]
        return writer


class NoRevision(Memory):
    """Offers revisions and cannot tell them."""

    def revision(self, prefix: str) -> tuple[int, ...] | None:
        raise Unavailable(prefix)


class NoSpace(Memory):
    """Has only its reserve left."""

    def space(self) -> Space:
        return Space(free_bytes=10, usable_bytes=0, usable_inodes=5)


class LowerCase(Memory):
    """Takes names that differ in case for one, as some mounts do."""

    def create(self) -> Writer:
        writer = _MemoryWriter(self._entries)
        commit = writer.commit
        writer.commit = lambda key: commit(key.lower())  # type: ignore[method-assign]
        return writer

    def open(self, key: str, start: int = 0, stop: int | None = None) -> Reader:
        return super().open(key.lower(), start, stop)


class Raising(Memory):
    """Fails every write with one error."""

    error: StorageError

    def create(self) -> Writer:
        raise self.error
