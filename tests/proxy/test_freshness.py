"""When something was validated: a file's time, kept as long as somebody asks for it."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from distserver.proxy.freshness import MAX_AGE_SECONDS, Freshness

FOREVER = float("inf")
Ask = Callable[[Freshness], bool]
ASKED: list[Ask] = [lambda f: f.ever("a", "v1"), lambda f: f.is_fresh("a", "v1", FOREVER)]


@pytest.fixture
def old(tmp_path: Path) -> Freshness:
    """One mark, as old as a mark may be."""
    freshness = Freshness(tmp_path)
    freshness.validated("a", "v1")
    (mark,) = tmp_path.glob("*/*")
    long_ago = time.time() - 2 * MAX_AGE_SECONDS
    os.utime(mark, (long_ago, long_ago))
    return freshness


def test_what_nobody_asks_for_is_forgotten(old: Freshness) -> None:
    old.sweep()
    assert not old.ever("a", "v1")


@pytest.mark.parametrize("asked", ASKED)
def test_what_somebody_asks_for_is_kept_and_no_fresher(old: Freshness, asked: Ask) -> None:
    """A pinned tag, or one that is never asked for again, is validated once for all time."""
    assert asked(old)
    old.sweep()
    assert old.ever("a", "v1")
    assert not old.is_fresh("a", "v1", MAX_AGE_SECONDS)


@pytest.mark.parametrize("asked", ASKED)
def test_a_state_that_cannot_be_written_still_tells(
    old: Freshness, asked: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    def read_only(*_: object, **__: object) -> None:
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr(os, "utime", read_only)
    assert asked(old)


def test_a_time_in_the_future_is_no_proof(tmp_path: Path) -> None:
    freshness = Freshness(tmp_path)
    freshness.validated("a", "v1")
    (mark,) = tmp_path.glob("*/*")
    os.utime(mark, (time.time() + 3600, time.time() + 3600))
    assert not freshness.is_fresh("a", "v1", FOREVER)
    assert freshness.ever("a", "v1")
