"""Entries that a set restores and erases while members are away, and what hints then do."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from backends import Backend, Filesystem, erase, put, read_all, restore
from backends.errors import NotFound, Unavailable
from tests.backends.members import Faulty, Site
from tests.live import wait_for


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    made = Site(tmp_path)
    yield made
    made.mend()


def holders(site: Site, key: str) -> list[int]:
    """The members that have an entry, which is b"bytes" on each."""
    found = [number for number in range(3) if key in set(Filesystem(site.roots[number]).keys(""))]
    for number in found:
        assert read_all(Filesystem(site.roots[number]), key, 9) == b"bytes"
    return found


def catch_up(site: Site, key: str, wanted: list[int]) -> None:
    """Let the set work in the background until these members have an entry, and no other."""
    storage = site.open()

    def is_so() -> bool:
        storage.tend()
        left = {one for one in storage.keys("hints/") if not one.startswith("hints/beats/")}
        return holders(site, key) == wanted and not left

    wait_for(is_so, 20, f"{key} on {wanted}")


def test_what_two_restore_the_third_gets_later(site: Site) -> None:
    storage = site.open()
    put(storage, "trash/entry", b"bytes")
    wait_for(lambda: len(holders(site, "trash/entry")) == 3, 20, "three copies")
    site.break_(1, "refused")
    restore(storage, "trash/entry", "entry")
    assert holders(site, "entry") == [0, 2]
    site.mend()
    catch_up(site, "entry", [0, 1, 2])


def test_a_member_without_the_source_gets_a_copy_from_another(site: Site) -> None:
    put(Filesystem(site.roots[0]), "trash/entry", b"bytes")
    site.break_(1, "refused")
    restore(site.open(), "trash/entry", "entry")
    assert holders(site, "entry") == [0, 2]


def test_nothing_is_restored_when_too_few_answer(site: Site) -> None:
    storage = site.open()
    put(storage, "trash/entry", b"bytes")
    for number in (0, 1):
        site.break_(number, "refused")
    for verb in (lambda: restore(storage, "trash/entry", "entry"), lambda: erase(storage, "entry")):
        with pytest.raises(Unavailable):
            verb()
    with pytest.raises(Unavailable):
        restore(storage, "trash/other", "entry")


def test_what_is_erased_goes_from_a_member_that_was_away(site: Site) -> None:
    """The hint is there when the call returns: what called may end at once."""
    storage = site.open()
    put(storage, "entry", b"bytes")
    wait_for(lambda: len(holders(site, "entry")) == 3, 20, "three copies")
    site.break_(1, "refused")
    erase(storage, "entry")
    assert holders(site, "entry") == [1]
    assert len(list(site.roots[0].glob("hints/*-*/*"))) == 1
    site.mend()
    catch_up(site, "entry", [])
    with pytest.raises(NotFound):
        site.open().stat("entry")


@pytest.mark.parametrize("remove", [erase, lambda storage, key: storage.delete(key)])
def test_what_is_written_again_while_a_hint_to_remove_it_is_worked_off_stays(
    site: Site, monkeypatch: pytest.MonkeyPatch, remove: Callable[[Backend, str], None]
) -> None:
    """Written behind the look of who works off the hint, and before it removes."""
    storage = site.open()
    put(storage, "entry", b"bytes")
    wait_for(lambda: len(holders(site, "entry")) == 3, 20, "three copies")
    site.break_(1, "refused")
    remove(storage, "entry")
    storage.hints.wait()
    site.mend()
    real, again = Faulty.delete, [1]

    def delete(self: Faulty, key: str) -> None:
        if key == "entry" and again:
            again.clear()
            site.break_(2, "refused")
            put(site.open(), "entry", b"bytes")
            assert holders(site, "entry") == [0, 1]
            site.mend()
        real(self, key)

    monkeypatch.setattr(Faulty, "delete", delete)
    storage = site.open()
    (member,) = [one for one in storage.roster.written if one.name == str(site.roots[1])]
    storage.roster.refresh()
    storage.hints.drain(member, float("inf"))
    assert not again
    assert set(holders(site, "entry")) >= {0, 1}
