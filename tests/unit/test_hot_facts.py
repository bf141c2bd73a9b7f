"""Facts: positive, bounded in time, and never stronger than a removal."""

from __future__ import annotations

import fcntl
import json
import os
import time
from pathlib import Path

import pytest

from distserver.registry.hot.facts import About, Facts, now

TAG: About = ("tag", "a/b", "v1")
OTHER: About = ("tag", "a/b", "v2")


@pytest.fixture
def facts(tmp_path: Path) -> Facts:
    return Facts(tmp_path / "facts", 100)


def known(facts: Facts, about: About = TAG) -> object:
    found = facts.get(about)
    return found and found[0]["digest"]


def the_file(tmp_path: Path) -> Path:
    (path,) = (tmp_path / "facts").iterdir()
    return path


def age(tmp_path: Path, seconds: float) -> None:
    path = the_file(tmp_path)
    then = path.stat().st_mtime - seconds
    os.utime(path, (then, then))


def test_a_fact_is_known_to_all_processes_and_replaced_by_a_newer_one(
    facts: Facts, tmp_path: Path
) -> None:
    facts.note(TAG, {"digest": "1"}, now())
    other = Facts(tmp_path / "facts", 100)
    assert (known(other), known(other, OTHER)) == ("1", None)
    other.note(TAG, {"digest": "2"}, now())
    assert known(facts) == "2"


@pytest.mark.parametrize("seconds", [101, -5])
def test_a_fact_that_is_old_or_of_the_future_does_not_count(
    facts: Facts, tmp_path: Path, seconds: float
) -> None:
    facts.note(TAG, {"digest": "1"}, now())
    age(tmp_path, seconds)
    assert known(facts) is None


def test_a_fact_that_is_confirmed_is_young_again(tmp_path: Path) -> None:
    Facts(tmp_path / "facts", 100).note(TAG, {"digest": "1"}, now())
    age(tmp_path, 101)
    other = Facts(tmp_path / "facts", 100)
    other.note(TAG, {"digest": "1"}, now())
    assert known(other) == "1"


def test_what_was_removed_is_not_known_and_no_older_question_brings_it_back(
    facts: Facts, tmp_path: Path
) -> None:
    """Also a question of another process, and one about which nothing was known yet."""
    other = Facts(tmp_path / "facts", 100)
    facts.begin()
    asked = now()
    facts.remove(TAG)
    other.note(TAG, {"digest": "1"}, asked)
    assert known(facts) is None
    other.note(TAG, {"digest": "2"}, now())
    assert known(facts) == "2"
    facts.remove(TAG)
    assert (known(facts), known(other)) == (None, None)


def test_a_removal_before_this_machine_was_started_hinders_nothing(
    facts: Facts, tmp_path: Path
) -> None:
    facts.begin()
    facts.remove(TAG)
    the_file(tmp_path).write_text(json.dumps({"removed": now() + 10**15}))
    facts.note(TAG, {"digest": "1"}, now())
    assert known(facts) == "1"


@pytest.mark.parametrize("damage", ["", "{", "[]", '{"digest": "1"}', '{"removed": "x"}'])
def test_a_damaged_file_is_no_fact(facts: Facts, tmp_path: Path, damage: str) -> None:
    facts.note(TAG, {"digest": "1"}, now())
    the_file(tmp_path).write_text(damage)
    assert known(facts) is None
    Facts(tmp_path / "facts", 100).note(TAG, {"digest": "2"}, now())
    assert known(facts) == "2"


def test_files_go_when_they_do_not_count_any_more(facts: Facts, tmp_path: Path) -> None:
    facts.note(TAG, {"digest": "1"}, now())
    assert facts.sweep() == 0
    age(tmp_path, 200)
    assert facts.sweep() == 1
    assert list((tmp_path / "facts").iterdir()) == []


def test_switched_off_nothing_is_written(tmp_path: Path) -> None:
    facts = Facts(tmp_path / "facts", 0)
    facts.begin()
    facts.note(TAG, {"digest": "1"}, now())
    facts.remove(TAG)
    assert known(facts) is None
    assert list(tmp_path.iterdir()) == []


def test_a_directory_that_cannot_be_made_hinders_nobody(tmp_path: Path) -> None:
    (tmp_path / "facts").write_text("no directory")
    facts = Facts(tmp_path / "facts", 100)
    facts.begin()
    facts.note(TAG, {"digest": "1"}, now())
    facts.remove(TAG)
    assert known(facts) is None


def test_a_full_disk_does_not_keep_a_fact_from_being_removed(
    facts: Facts, monkeypatch: pytest.MonkeyPatch
) -> None:
    facts.note(TAG, {"digest": "1"}, now())

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("distserver.registry.hot.facts._write", full)
    facts.remove(TAG)
    assert known(facts) is None


def test_a_stopped_process_holds_up_no_pull_and_no_removal_is_acknowledged(
    facts: Facts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("distserver.registry.hot.facts.LOCK_SECONDS", 0.1)
    facts.begin()
    held = os.open(tmp_path / "facts", os.O_RDONLY)
    fcntl.flock(held, fcntl.LOCK_EX)
    began = time.monotonic()
    facts.note(TAG, {"digest": "1"}, now())
    with pytest.raises(OSError):
        facts.remove(TAG)
    assert time.monotonic() - began < 5
    os.close(held)
    facts.note(TAG, {"digest": "1"}, now())
    assert known(facts) == "1", "the next pull notes what one before could not"
    facts.remove(TAG)
