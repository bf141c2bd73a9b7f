"""All members asked at once, their answers taken as they come."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from queue import Empty, SimpleQueue
from typing import TypeVar

from backends.base import Backend
from backends.errors import StorageError
from backends.replica.member import READ_SECONDS, Member

T = TypeVar("T")


def ask(
    members: Iterable[Member], call: Callable[[Backend], T], seconds: float = READ_SECONDS
) -> Iterator[tuple[Member, T | StorageError]]:
    """Yield what each member answers, the first one first; those that are late are left out.

    seconds  from the first `next` on
    """
    return answers([(member, member.ask(call, seconds)) for member in members], seconds)


def answers(
    asked: list[tuple[Member, Future[T]]], seconds: float
) -> Iterator[tuple[Member, T | StorageError]]:
    """Yield what futures of members hold, the first one first, for so many seconds."""
    ready: SimpleQueue[tuple[Member, Future[T]]] = SimpleQueue()
    for member, future in asked:
        future.add_done_callback(lambda done, member=member: ready.put((member, done)))  # type: ignore[misc]
    deadline = time.monotonic() + seconds
    for _ in asked:
        try:
            member, future = ready.get(timeout=max(0.0, deadline - time.monotonic()))
        except Empty:
            return
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


def words(problems: dict[str, str]) -> str:
    """Say in one line what hinders which member."""
    return "; ".join(f"{name}: {text}" for name, text in problems.items()) or "nobody answers"
