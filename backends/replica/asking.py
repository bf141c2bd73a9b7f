"""All members asked at once, their answers taken as they come."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from queue import Empty, SimpleQueue
from typing import TypeVar

from backends.base import Backend
from backends.errors import StorageError, Unavailable
from backends.replica.member import READ_SECONDS, Member

T = TypeVar("T")
PATIENT_SECONDS = 5.0
"""How long a read waits for members without which nothing can be said."""


def ask(
    members: Iterable[Member],
    call: Callable[[Backend], T],
    satisfied: Callable[[], bool] = lambda: True,
) -> Iterator[tuple[Member, T | StorageError]]:
    """Yield what each member answers, the first one first; those that are late are left out.

    satisfied  asked when the usual time is over: False = wait on for a while, since without a late
               one there is no answer at all
    """
    asked = [(member, member.ask(call, READ_SECONDS)) for member in members]
    yield from answers(asked, READ_SECONDS, satisfied)


def answers(
    asked: list[tuple[Member, Future[T]]],
    seconds: float,
    satisfied: Callable[[], bool] = lambda: True,
) -> Iterator[tuple[Member, T | StorageError]]:
    """Yield what futures of members hold, the first one first, for so many seconds; see ask."""
    ready: SimpleQueue[tuple[Member, Future[T]]] = SimpleQueue()
    for member, future in asked:
        future.add_done_callback(lambda done, member=member: ready.put((member, done)))  # type: ignore[misc]
    began, left = time.monotonic(), len(asked)
    while left:
        try:
            member, future = ready.get(timeout=max(0.0, began + seconds - time.monotonic()))
        except Empty:
            if satisfied() or seconds >= PATIENT_SECONDS:
                return
            seconds = PATIENT_SECONDS
            continue
        left -= 1
        answer: T | StorageError = answer_of(future)
        yield member, answer


def answer_of(future: Future[T]) -> T | StorageError:
    """Return what a finished future holds; a mistake of ours is raised."""
    error = future.exception()
    if error is None:
        return future.result()
    if isinstance(error, StorageError):
        return error
    raise error


def answer_within(future: Future[T], seconds: float, late: str) -> T | StorageError:
    """Return what a future holds within a deadline; Unavailable in those words if it is late."""
    try:
        future.exception(seconds)
    except TimeoutError:
        return Unavailable(late)
    return answer_of(future)


def words(problems: dict[str, str]) -> str:
    """Say in one line what hinders which member."""
    return "; ".join(f"{name}: {text}" for name, text in problems.items()) or "nobody answers"
