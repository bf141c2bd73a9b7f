"""Questions that are asked once for many, and what nobody may be told."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import pytest

from backends.errors import Unavailable
from distserver.registry import rounds
from distserver.registry.rounds import Rounds
from tests.live import wait_for

SECONDS = 10.0


@dataclass
class Storage:
    """Answers with the value at the moment when a question begins, once it is let go."""

    rounds: Rounds[str] = field(default_factory=Rounds)
    value: str = "old"
    asked: list[str] = field(default_factory=list)
    may_answer: threading.Event = field(default_factory=threading.Event)

    def _answer(self) -> str:
        value = self.value
        self.asked.append(value)
        assert self.may_answer.wait(SECONDS)
        return value


Ask = Callable[..., Future[str]]


@pytest.fixture
def storage() -> Storage:
    return Storage()


@pytest.fixture
def ask(storage: Storage, monkeypatch: pytest.MonkeyPatch) -> Iterator[Ask]:
    """Ask from a thread of its own; on return the question has begun, or waits."""
    waiting: list[object] = []
    for name in ("wait", "_answer"):
        _noting(monkeypatch, name, waiting)
    with ThreadPoolExecutor(16) as pool:

        def go(key: str = "key") -> Future[str]:
            before = len(waiting) + len(storage.asked)
            done = pool.submit(lambda: storage.rounds.get(key, storage._answer))
            wait_for(lambda: len(waiting) + len(storage.asked) > before, SECONDS, "question")
            return done

        yield go
        storage.may_answer.set()


def _noting(monkeypatch: pytest.MonkeyPatch, name: str, calls: list[object]) -> None:
    original = getattr(rounds, name)

    def noting(*arguments: Any) -> Any:
        calls.append(name)
        return original(*arguments)

    monkeypatch.setattr(rounds, name, noting)


@pytest.fixture
def begun(storage: Storage, ask: Ask) -> Future[str]:
    """A question that is under way."""
    return ask()


def test_who_comes_later_is_never_told_what_was_before(
    storage: Storage, ask: Ask, begun: Future[str]
) -> None:
    storage.value = "new"
    later = [ask() for _ in range(8)]
    storage.may_answer.set()
    assert begun.result(SECONDS) == "old"
    assert {one.result(SECONDS) for one in later} == {"new"}


def test_who_waits_together_is_answered_by_one_question(
    storage: Storage, ask: Ask, begun: Future[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rounds, "PATIENCE_SECONDS", SECONDS)
    later = [ask() for _ in range(8)]
    storage.may_answer.set()
    for one in (begun, *later):
        one.result(SECONDS)
    assert len(storage.asked) == 2 and not storage.rounds._newest


def test_other_keys_do_not_wait(storage: Storage, ask: Ask, begun: Future[str]) -> None:
    ask("other")
    wait_for(lambda: len(storage.asked) == 2, SECONDS, "the other question")


def test_a_question_that_hangs_holds_the_next_one_back_for_a_moment_only(
    storage: Storage, ask: Ask, begun: Future[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rounds, "PATIENCE_SECONDS", 0.01)
    ask()
    wait_for(lambda: len(storage.asked) == 2, SECONDS, "the next round")
    assert not begun.done()


def test_a_failure_is_told_to_all_of_its_round_and_not_remembered(
    storage: Storage, ask: Ask, begun: Future[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rounds, "PATIENCE_SECONDS", SECONDS)

    def fail() -> str:
        raise Unavailable("away")

    monkeypatch.setattr(storage, "_answer", fail)
    later = [ask() for _ in range(4)]
    storage.may_answer.set()
    assert begun.result(SECONDS) == "old"
    for one in later:
        with pytest.raises(Unavailable, match="away"):
            one.result(SECONDS)
    assert storage.rounds.get("key", lambda: "back") == "back"
