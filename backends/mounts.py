"""Which file system a directory lies on, as far as trusting its time stamps goes."""

from __future__ import annotations

import logging
from itertools import islice

_log = logging.getLogger(__name__)
_MAX_MOUNTS = 100_000
LOCAL_TYPES = frozenset(
    {"ext2", "ext3", "ext4", "xfs", "btrfs", "tmpfs", "overlay", "f2fs", "zfs", "bcachefs"}
)
"""File systems of this kernel alone, whose directories get fine times by this machine's clock."""


def is_local(fd: int) -> bool:
    """Whether the file system of an open directory is one of LOCAL_TYPES; unknown counts as no.

    By mount id, since btrfs and overlay show other device numbers in stat than in the mount table.
    """
    try:
        return _type_of_mount(_mount_id(fd)) in LOCAL_TYPES
    except OSError as exc:
        _log.info("no mount table, so revisions are off: %s", exc)
        return False


def _mount_id(fd: int) -> str:
    with open(f"/proc/self/fdinfo/{fd}", encoding="ascii") as lines:
        for line in islice(lines, 100):
            name, _, value = line.partition(":")
            if name == "mnt_id":
                return value.strip()
    return ""


def _type_of_mount(mount_id: str) -> str:
    """Return the type; proc(5), mountinfo: id parent dev root point options fields… - type …."""
    with open("/proc/self/mountinfo", encoding="utf-8", errors="replace") as lines:
        for line in islice(lines, _MAX_MOUNTS):
            head, _, tail = line.partition(" - ")
            if head.split(" ", 1)[0] == mount_id:
                return tail.split(" ", 1)[0]
    return ""
