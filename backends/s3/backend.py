"""The six verbs on a bucket. Nothing is listed where a key is known."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from functools import partial

from backends.base import Backend, Entry, Reader, Writer
from backends.check import CheckResult
from backends.errors import Corrupt, NotFound, RangeInvalid, Unavailable
from backends.keys import is_key, validate_prefix
from backends.s3.client import Client
from backends.s3.copying import copy_data
from backends.s3.entries import HEAD_BYTES, POINTER_BYTES, Pointer, decode, size_of
from backends.s3.identity import Known, anything
from backends.s3.listing import listed_entries, lists_by_bytes, names_below
from backends.s3.place import Place
from backends.s3.reader import DataReader, SmallReader
from backends.s3.sweep import Sweep
from backends.s3.trust import examine
from backends.s3.writer import MAX_NAMING_SECONDS, EntryWriter, now, require_young
from backends.walk import walk

_IN_NO_KEY = re.compile(r"[^!-~]|(?:^|(?<=/))[./]")
_MAX_NAME_BYTES = 1024


def open_s3(place: Place, expected_id: str | None = None) -> S3:
    """Return the storage in a bucket; asked at the first use, not before.

    expected_id  the storage id that must be among its ids; None = the first one met
    """
    client = Client(place)
    return S3(client, Known(client, S3(client, anything), expected_id))


class S3:
    """A backend in a bucket, below a prefix.

        guard  raises Unavailable unless the bucket is the storage that it was
    A request ends within 15 s, a verb makes three at most; large bytes have a deadline of progress.
    """

    def __init__(self, client: Client, guard: Callable[[], None]) -> None:
        self._client, self._place, self._guard = client, client.place, guard
        # To find out is to write, so not where nobody knows yet whose the bucket is.
        self._by_bytes: bool | None = False if guard is anything else None

    def stat(self, key: str) -> Entry:
        """See Backend.stat. A link has the time of the link; times are whole seconds."""
        name = self._place.entry(key)
        self._guard()
        head, piece = self._client.fetch(name, POINTER_BYTES)
        return Entry(size_of(name, head, piece.total), piece.modified)

    def open(self, key: str, start: int = 0, stop: int | None = None) -> Reader:
        """See Backend.open: one request for a small entry, two for a large one."""
        name = self._place.entry(key)
        self._guard()
        found = decode(name, *self._whole(name))
        size = found.size if isinstance(found, Pointer) else len(found)
        stop = size if stop is None else stop
        if not 0 <= start <= stop <= size:
            raise RangeInvalid(f"{key}: {start}..{stop} of {size}")
        if isinstance(found, bytes):
            return SmallReader(found, start, stop)
        try:
            return DataReader(self._client, self._place.data(found.data_id), size, start, stop)
        except Corrupt:
            self.stat(key)  # it may have been erased since: then this says so
            raise

    def create(self) -> Writer:
        """See Backend.create. Nothing is sent before 8 MiB are there, or the name is."""
        self._guard()
        return EntryWriter(self._client, self._guard)

    def link(self, source: str, target: str) -> None:
        """See Backend.link: the pointer is copied, or a small entry; never data."""
        to, name = self._place.entry(target), self._place.entry(source)
        self._guard()
        begun = now()
        head, total = self._whole(name)
        decode(name, head, total)
        require_young(begun, MAX_NAMING_SECONDS, "linking")
        self._client.put(to, head)

    def copy(self, source: str, target: str) -> None:
        """See Copies.copy: the server copies the data, a second for each 100 MB or so."""
        to, name = self._place.entry(target), self._place.entry(source)
        self._guard()
        begun = now()
        head, total = self._whole(name)
        found = decode(name, head, total)
        if isinstance(found, Pointer):
            head = self._copied(source, found).encode()
        require_young(begun, MAX_NAMING_SECONDS, "copying")
        self._client.put(to, head)

    def delete(self, key: str) -> None:
        """See Backend.delete. Data that nothing names any more is removed by sweep."""
        name = self._place.entry(key)
        self._guard()
        self._remove(name)

    def erase(self, key: str) -> None:
        """See Erases.erase. A bucket that keeps versions of objects keeps the bytes."""
        name = self._place.entry(key)
        self._guard()
        data = self._only_named_by(name)
        self._remove(name)
        if data:
            self._remove(data)

    def keys(self, prefix: str, after: str = "", settle: bool = False) -> Iterator[str]:
        """See Backend.keys: 1,000 keys a request, or a request a directory: see listing."""
        return self._keys(validate_prefix(prefix), bound(after))

    def _whole(self, name: str) -> tuple[bytes, int]:
        """Return what an entry's object holds, and its bytes by the server's count."""
        head, piece = self._client.fetch(name, HEAD_BYTES)
        return head, piece.total

    def _remove(self, name: str) -> None:
        try:
            self._client.call("delete_object", Key=name)
        except NotFound:  # so say some servers; to us it is success
            return

    def _only_named_by(self, name: str) -> str:
        """Return the name of the data that only this entry names; "" = none."""
        try:
            found = decode(name, *self._whole(name))
        except (NotFound, Corrupt):  # what we did not write names nothing
            return ""
        if isinstance(found, bytes) or Sweep(self._client).is_named(found, besides=name):
            return ""
        return self._place.data(found.data_id)

    def _copied(self, key: str, found: Pointer) -> Pointer:
        try:
            return copy_data(self._client, found)
        except NotFound as exc:
            self.stat(key)  # it may have been erased since: then this says so
            raise Corrupt(f"{self._place}: the data of {key} is gone, but named") from exc

    def _keys(self, prefix: str, after: str) -> Iterator[str]:
        self._guard()
        if self._by_bytes is None:
            self._by_bytes = lists_by_bytes(self._client)
        if self._by_bytes:
            yield from self._listed(prefix, after)
        else:
            yield from walk(partial(names_below, self._client), prefix, after)

    def _listed(self, prefix: str, after: str) -> Iterator[str]:
        if after > prefix and not after.startswith(prefix):
            return  # every key with the prefix is smaller
        first = (self._place.prefix + after)[:_MAX_NAME_BYTES] if after > prefix else ""
        names: Iterable[str] | None = None
        if prefix and not first:
            names = self._client.names(self._place.entries(prefix))
        if names is None:
            names = (one.name for one in listed_entries(self._client, prefix, first))
        keys = (name.removeprefix(self._place.prefix) for name in names)
        yield from filter(is_key, keys)

    def redirect_url(self, key: str, seconds: int) -> str | None:
        """See Redirects.redirect_url; never for small entries."""
        if not self._place.options.redirect_endpoint:
            return None
        name = self._place.entry(key)
        self._guard()
        found = decode(name, *self._whole(name))
        if not isinstance(found, Pointer):
            return None
        return self._client.signed_url(self._place.data(found.data_id), seconds)

    def sweep(self, max_age_seconds: float = 86400) -> int:
        """See Sweeps.sweep; but what is younger than 48 h stays in any case."""
        self._guard()
        return Sweep(self._client)(max_age_seconds)

    def unguarded(self) -> Backend:
        """See Guarded.unguarded; asks by the same connections."""
        return S3(self._client, anything)

    def blank(self) -> bool:
        """See Guarded.blank: nothing below our prefix but what dead writers and checks left."""
        return next(listed_entries(self._client), None) is None

    def examine(self) -> Iterator[CheckResult]:
        """See Examines.examine."""
        for result in examine(self._client, Client(self._place)):
            if result.answered and not result.ok:
                self._guard = partial(_refuse, f"{self._place}: {result.name}: {result.message}")
            yield result


def _refuse(why: str) -> None:
    raise Unavailable(f"this object store is not to be relied on: {why}")


def bound(after: str) -> str:
    """Return a lower bound that any server takes, and that leaves out the same keys. Pure.

    No key has a sign below "!" or above "z", or a component that begins with "." or "/"; so what
    follows there decides nothing.
    """
    strange = _IN_NO_KEY.search(after)
    if strange is None:
        return after
    kept, sign = after[: strange.start()], strange[0]
    if sign in "./":
        return f"{kept}-~"  # behind all components that begin with "!", "+" or "-"
    return kept if sign < "!" else f"{kept}~"
