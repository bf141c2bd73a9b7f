"""All that can be wrong with one mount of a replica set, and how it is undone."""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

from tests.faults import disks
from tests.faults.faultfs import WRITING
from tests.faults.mounted_set import MEMBERS, MountedSet
from tests.faults.test_flips import flip

Trouble = Callable[[MountedSet, int], AbstractContextManager[None]]
"""Does something to the mount with that number; undone, at the end, by whoever mends mounts."""

SLOW_SECONDS = 0.02
"""For each operation: ten times what a network takes for one."""
GROWING = ("create", "write", "mkdir", "link")
"""What a full disk refuses."""


@contextmanager
def refused(site: MountedSet, number: int) -> Iterator[None]:
    """What serves it is killed: ENOTCONN, until it is mounted anew."""
    site.mounts[number].crash()
    try:
        yield
    finally:
        site.mounts[number].down()
        site.mounts[number].up()


@contextmanager
def unmounted(site: MountedSet, number: int) -> Iterator[None]:
    """The bare directory shows. Nothing may be written to it."""
    mount = site.mounts[number]
    mount.down()
    try:
        yield
    finally:
        assert list(mount.path.iterdir()) == []
        mount.up()


@contextmanager
def swapped(site: MountedSet, number: int) -> Iterator[None]:
    """Another member is mounted in its place, too."""
    mount, other = site.mounts[number], site.mounts[(number + 1) % MEMBERS]
    disks.run("mount", "--bind", other.path, mount.path)
    try:
        yield
    finally:
        disks.run("umount", "-l", mount.path)


@contextmanager
def back_after_an_hour(site: MountedSet, number: int) -> Iterator[None]:
    """What it comes back with is an hour old. Much is pushed meanwhile, by whoever lends it."""
    mount = site.mounts[number]
    mount.down()
    try:
        yield
    finally:
        then = time.time() - 3600
        for path in mount.behind.rglob("*"):
            os.utime(path, (then, then))
        mount.up()


@contextmanager
def replaced(site: MountedSet, number: int) -> Iterator[None]:
    """An empty one is in its place; an operator lets it join."""
    mount = site.mounts[number]
    status = [line.split() for line in site.command("replica", "status").splitlines()]
    (lost,) = [words[2] for words in status if words[1] == str(mount.path)]
    mount.down()
    mount.behind.rename(mount.behind.with_name(f"lost-{lost}"))
    mount.behind.mkdir()
    mount.up()
    try:
        yield
    finally:
        assert list(mount.behind.iterdir()) == []
        site.command("replica", "join", str(mount.path), "--instead-of", lost)


@contextmanager
def rotten(site: MountedSet, number: int) -> Iterator[None]:
    """A byte of each of its copies changes; the others are slower, so that they are read."""
    rng = random.Random(number)
    for path in site.copies(number):
        flip(path, rng)
    others = [mount for mount in site.mounts if mount is not site.mounts[number]]
    for mount in others:
        mount.order("read", delay=SLOW_SECONDS)
    try:
        yield
    finally:
        for mount in others:
            mount.order()


def ordered(*operations: str, **orders: object) -> Trouble:
    """The trouble of a mount that has such orders."""

    @contextmanager
    def trouble(site: MountedSet, number: int) -> Iterator[None]:
        site.mounts[number].order(*operations, **orders)
        try:
            yield
        finally:
            site.mounts[number].order()

    return trouble


def of_two(trouble: Trouble) -> Trouble:
    """The same trouble of a mount and of the next one."""

    @contextmanager
    def both(site: MountedSet, number: int) -> Iterator[None]:
        with trouble(site, number), trouble(site, (number + 1) % MEMBERS):
            yield

    return both


@contextmanager
def exchanged(site: MountedSet, number: int) -> Iterator[None]:
    """A mount and the next one are mounted in each other's place."""
    one, two = site.mounts[number].path, site.mounts[(number + 1) % MEMBERS].path
    aside = one.with_name("aside")
    aside.mkdir(exist_ok=True)
    for source, target in ((two, aside), (one, two), (aside, one)):
        disks.run("mount", "--bind", source, target)
    try:
        yield
    finally:
        for target in (one, two, aside):
            disks.run("umount", "-l", target)


TROUBLES_OF_TWO: dict[str, Trouble] = {
    "refused": of_two(refused),
    "hung": of_two(ordered(hang=True)),
    "mounted in each other's place": exchanged,
}
TROUBLES: dict[str, Trouble] = {
    "refused": refused,
    "hung": ordered(hang=True),
    "slow 10 x": ordered(delay=SLOW_SECONDS),
    "read-only": ordered(*WRITING, errno="EROFS"),
    "full": ordered(*GROWING, errno="ENOSPC"),
    "stale": ordered(errno="ESTALE"),
    "bit-rotten": rotten,
    "swapped with another": swapped,
    "unmounted": unmounted,
    "back after an hour": back_after_an_hour,
    "replaced by an empty one": replaced,
}
