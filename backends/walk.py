"""Keys in order from a tree of directories, reading no directory that cannot hold one."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator

from backends.keys import is_directory, is_key
from backends.root import Held, close_quietly, open_directory


def walk(listing: Callable[[str], list[str]], prefix: str, after: str) -> Iterator[str]:
    """Yield the keys below prefix that come after `after`, ascending by the whole key.

    listing   takes a prefix; returns the names directly below it, directories with a "/" at
              their end, sorted: so `a-b/x` comes before `a/x`, as its bytes do
    """
    if prefix < after and not after.startswith(prefix):
        return
    for name in listing(prefix):
        key = prefix + name
        if key.endswith("/"):
            yield from walk(listing, key, after)
        elif key > after:
            yield key


def names(held: Held, prefix: str) -> list[str]:
    """Return the sorted names in one directory that are parts of keys, for walk().

    Links and other special files are no entries. Through a descriptor of its own: a shared one
    would share its position with other threads and forks.

    Raises: OSError.
    """
    fd = open_directory(held, prefix[:-1])
    try:
        with os.scandir(fd) as entries:
            return sorted(name for entry in entries if (name := _name(prefix, entry)))
    finally:
        close_quietly(fd)


def _name(prefix: str, entry: os.DirEntry[str]) -> str:
    if is_key(prefix + entry.name) and entry.is_file(follow_symlinks=False):
        return entry.name
    if is_directory(prefix + entry.name) and entry.is_dir(follow_symlinks=False):
        return entry.name + "/"
    return ""
