"""What the prober of a server found last, in memory that the server's processes share.

Made before the fork, by anonymous file: nothing of it lies on a disk that could hang.
"""

from __future__ import annotations

import fcntl
import mmap
import os
import struct
import time
import weakref
from collections.abc import Iterator
from contextlib import contextmanager

from backends.guard.verdict import State, Verdict

_STATES = tuple(State)
_VERDICT, _ANSWERS, _RETURN = struct.Struct("<BB"), struct.Struct("<Q"), struct.Struct("<d")
_ANSWERS_AT, _RETURN_AT = 8, 16
_WORDS_AT, _BYTES = 64, 512


class Board:
    """A verdict and, in words, what the last probe met: one process writes, all read.

    Beside it when a call last returned, of any process.
    """

    def __init__(self) -> None:
        self._fd = os.memfd_create("guard")
        weakref.finalize(self, os.close, self._fd)
        os.truncate(self._fd, _BYTES)
        self._memory = mmap.mmap(self._fd, _BYTES)
        self.verdict, self.words = Verdict(), ""

    @property
    def verdict(self) -> Verdict:
        """The verdict that holds now."""
        state, good = _VERDICT.unpack_from(self._memory)
        return Verdict(_STATES[state], good)

    @verdict.setter
    def verdict(self, new: Verdict) -> None:
        packed = _VERDICT.pack(_STATES.index(new.state), min(new.good, 255))
        self._memory[: len(packed)] = packed

    @property
    def words(self) -> str:
        """What hindered the last probe; "" = nothing."""
        return self._memory[_WORDS_AT:].rstrip(b"\0").decode(errors="replace")

    @words.setter
    def words(self, text: str) -> None:
        room = _BYTES - _WORDS_AT
        self._memory[_WORDS_AT:] = text.encode()[:room].ljust(room, b"\0")

    @property
    def answers(self) -> int:
        """How many probes were answered in time, so far."""
        count: int = _ANSWERS.unpack_from(self._memory, _ANSWERS_AT)[0]
        return count

    def note_answer(self) -> None:
        """Note that a probe was answered in time; called by the one process that probes."""
        _ANSWERS.pack_into(self._memory, _ANSWERS_AT, self.answers + 1)

    def note_return(self) -> None:
        """Note that a call into the storage has returned now."""
        _RETURN.pack_into(self._memory, _RETURN_AT, time.monotonic())

    def quiet_seconds(self) -> float:
        """Seconds since a call last returned."""
        returned: float = _RETURN.unpack_from(self._memory, _RETURN_AT)[0]
        return time.monotonic() - returned

    @contextmanager
    def taken_over(self) -> Iterator[None]:
        """Be the one that probes, when no other is any more; the kernel tells when it ends.

        The lock is that of a descriptor, not of the process: one process may have the board that
        another waits for, and wait for one that it has.
        Blocks: as long as the one before lives. For a thread that does nothing else.
        """
        own = os.open(f"/proc/self/fd/{self._fd}", os.O_RDWR | os.O_CLOEXEC)
        try:
            fcntl.flock(own, fcntl.LOCK_EX)
            yield
        finally:
            fcntl.flock(own, fcntl.LOCK_UN)  # a process forked meanwhile has the descriptor, too
            os.close(own)
