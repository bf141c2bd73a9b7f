"""A guard around a storage that may hang: a mount whose server is away, a bucket that is silent.

A thread that calls into a hung mount is lost until the kernel lets go. So calls are made by a few
threads that can be spared, whoever asks waits with a deadline, and a child process finds out when
the storage is back.

    backend        the Backend around a Backend
    capabilities   what more it can do: what that Backend can
    handles        its readers and writers
    gate           deadlines; who may ask at all
    pool           the threads
    prober         the thread that asks the child, and probe, the child
    verdict        what follows from probes: up, down, recovering
    board          that verdict, shared by the processes of a server
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from backends.base import Backend
from backends.filesystem import Filesystem
from backends.guard.backend import Guard
from backends.guard.board import Board
from backends.guard.capabilities import guard_for
from backends.guard.gate import Gate, Limits
from backends.guard.prober import Probing, probe_command

__all__ = ["Board", "Guard", "Limits", "Probing", "guarded", "guarded_directory", "within"]

T = TypeVar("T")


def guarded(
    backend: Backend,
    part: str,
    probing: Probing | None = None,
    limits: Limits | None = None,
    board: Board | None = None,
) -> Guard:
    """Return the backend with deadlines; it has the capabilities that the backend has.

        part      what the storage is called in messages and metrics
        probing   None = it is found down, and back, only by what calls do: for a storage whose
                  calls end by themselves some time
        limits    None = the usual ones
        board     shared by the guards of one place, so that one prober of a server serves them
                  all; made before a fork. None = its own
    Touches nothing. Entries on a local disk are asked directly.
    """
    return guard_for(backend)(backend, part, probing, limits or Limits(), board or Board())


def guarded_directory(
    path: str,
    expected_id: str | None = None,
    reserve_bytes: int | None = None,
    part: str = "",
    board: Board | None = None,
) -> Guard:
    """Return a guarded file storage, which is probed once it is watched; see open_backend.

    part   what it is called; "" = its path
    board  see guarded
    """
    files = Filesystem(path, expected_id=expected_id, reserve_bytes=reserve_bytes)
    return guarded(files, part or path, Probing(probe_command(path, expected_id)), board=board)


def within(call: Callable[[], T], path: str) -> T:
    """Do something to a path that may lie on a hung mount: in a thread, with the usual deadline.

    Raises: Unavailable, what the call raises.
    """
    return Gate(path, Board(), Limits()).ask(call)
