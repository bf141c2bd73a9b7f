"""The scrub: what it reads and when, what it remembers, what it has mended."""

from __future__ import annotations

import errno
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from backends import Filesystem, initialise
from backends.errors import Unavailable
from backends.quarantine import KEEP_SECONDS, aside, is_over
from distserver.oci.digests import Digest
from distserver.registry import Registry, layout, local_registry, verify
from distserver.registry.denied import Denial
from distserver.registry.scrub import Mender, Need, Plan, Progress, Scrubber, read_progress
from distserver.registry.scrub.pace import FLOOR_BYTES_PER_SECOND, Pace, Stopped, rate
from distserver.registry.scrub.passes import begin, steps
from distserver.registry.scrub.progress import DAY_SECONDS, FILE, write_progress
from tests.faults.images import make_image

IMAGE = make_image("scrub", 1_500_000)
LAYER = Digest.of(IMAGE.layer)


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    backend = Filesystem(tmp_path / "storage", reserve_bytes=0)
    (tmp_path / "storage").mkdir()
    initialise(backend)
    made = local_registry(backend, 0)
    for blob in IMAGE.blobs:
        made.blobs.put("team/app", Digest.of(blob), [blob])
    made.manifests.put("team/app", None, [], IMAGE.manifest, None)
    return made


def path_of(registry: Registry, key: str) -> Path:
    assert isinstance(registry.backend, Filesystem)
    return Path(registry.backend.local_path(key))


def flip(registry: Registry, key: str) -> None:
    path = path_of(registry, key)
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def nothing(count: int) -> None:
    """Passing at any speed."""


def test_the_rate_suffices_for_what_was_there() -> None:
    assert rate(0, 30) == rate(1 << 30, 30) == FLOOR_BYTES_PER_SECOND
    assert 10e12 / FLOOR_BYTES_PER_SECOND < 30 * DAY_SECONDS
    assert 100e12 / rate(int(100e12), 30) < 30 * DAY_SECONDS


def test_the_pace_is_kept_and_ends_with_the_process() -> None:
    stopped = threading.Event()
    pace, began = Pace(1e6, stopped), time.monotonic()
    for _ in range(10):
        pace.passing(10_000)
    assert time.monotonic() - began >= 0.09, "the first piece is free"
    stopped.set()
    with pytest.raises(Stopped):
        pace.passing(1 << 40)


@pytest.mark.parametrize(
    ("progress", "due"),
    [
        (Progress(), True),
        (Progress(begun=1e9 - 29 * DAY_SECONDS), False),
        (Progress(begun=1e9 - 30 * DAY_SECONDS), True),
        (Progress(begun=1e9, position="blobs/x"), True),
        (Progress(begun=2e9), True),
    ],
    ids=["never", "lately", "long ago", "under way", "the clock went back"],
)
def test_when_a_pass_is_due(progress: Progress, due: bool) -> None:
    assert progress.is_due(30, 1e9) == due


def test_progress_is_remembered(tmp_path: Path) -> None:
    progress = Progress("blobs/x", 5.0, 7, 1, missing=("sha256:" + "0" * 64,), images=("a:b",))
    write_progress(tmp_path, progress)
    assert read_progress(tmp_path) == progress


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", '{"a": 1}', '{"bytes": "x"}', '{"images": [1]}', '{"missing": ["sha256:0"]}'],
)
def test_progress_that_is_damaged_begins_anew(tmp_path: Path, text: str) -> None:
    assert read_progress(tmp_path) == Progress()
    (tmp_path / FILE).write_text(text)
    assert read_progress(tmp_path) == Progress()


def test_damaged_copies_are_kept_for_a_month() -> None:
    key = aside("sha256", "ab", 1e9)
    assert key.startswith("trash/damaged/sha256-ab-")
    assert not is_over(key, 1e9 + KEEP_SECONDS)
    assert is_over(key, 1e9 + KEEP_SECONDS + 1)
    assert not is_over("trash/damaged/of somebody else", 9e9)


def test_a_good_copy_puts_the_damaged_one_aside(registry: Registry) -> None:
    flip(registry, layout.blob(LAYER))
    registry.content.put(LAYER, [IMAGE.layer])
    assert list(registry.backend.keys("trash/")) == [], "nobody knew"
    flip(registry, layout.blob(LAYER))
    bad = path_of(registry, layout.blob(LAYER)).read_bytes()
    assert not verify.is_good(registry, LAYER)
    registry.content.corrupt(LAYER)
    assert registry.content.damaged() == {LAYER}
    registry.content.put(LAYER, [IMAGE.layer])
    (key,) = registry.backend.keys("trash/")
    assert path_of(registry, key).read_bytes() == bad
    assert registry.content.damaged() == frozenset()
    assert list(registry.backend.keys(layout.DAMAGED)) == []


def test_a_pass_finds_what_is_damaged_and_what_is_missing(registry: Registry) -> None:
    flip(registry, layout.blob(LAYER))
    registry.backend.delete(layout.blob(Digest.of(IMAGE.config)))
    done = list(steps(registry, begin(Progress(), 1.0), nothing))
    assert registry.content.damaged() == {LAYER}
    assert {digest for step in done for digest in step.missing} == {Digest.of(IMAGE.config)}
    last = done[-1].progress
    assert (last.position, last.found) == ("", 1)
    assert last.last_bytes == len(IMAGE.layer) + len(IMAGE.manifest)


def test_a_pass_mends_chunk_hashes(registry: Registry) -> None:
    key = layout.chunks(LAYER)
    good = path_of(registry, key).read_bytes()
    flip(registry, key)
    list(steps(registry, begin(Progress(), 1.0), nothing))
    assert path_of(registry, key).read_bytes() == good
    registry.backend.delete(key)
    list(steps(registry, begin(Progress(), 1.0), nothing))
    assert path_of(registry, key).read_bytes() == good


def test_a_pass_goes_on_where_it_was(registry: Registry) -> None:
    first, *_ = steps(registry, begin(Progress(), 1.0), nothing)
    rest = [step.progress.position for step in steps(registry, first.progress, nothing)]
    keys = list(registry.backend.keys("blobs/"))
    assert [first.progress.position, *rest] == [*keys, "repositories/team/app", ""]


def test_old_damaged_copies_go_at_the_end_of_a_pass(registry: Registry) -> None:
    old, new = aside("sha256", "ab", 1e9), aside("sha256", "ab", time.time())
    for key in (old, new):
        registry.backend.link(layout.blob(LAYER), key)
    list(steps(registry, begin(Progress(), 1.0), nothing))
    assert list(registry.backend.keys("trash/")) == [new]


def _failing(number: int) -> Any:
    def open_(key: str, *_: object) -> object:
        raise Unavailable(key) from OSError(number, "")

    return open_


def test_what_a_disk_has_lost_is_damaged(
    registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A bad sector never reads again; a storage that is away comes back."""
    monkeypatch.setattr(registry.backend, "open", _failing(errno.ESTALE))
    with pytest.raises(Unavailable):
        list(verify.contents(registry))
    monkeypatch.setattr(registry.backend, "open", _failing(errno.EACCES))
    assert all("cannot be read" in str(one.problem) for one in verify.contents(registry))
    assert registry.content.damaged() == frozenset(), "who may not read it cannot tell"
    monkeypatch.setattr(registry.backend, "open", _failing(errno.EIO))
    assert all("cannot be read" in str(one.problem) for one in verify.contents(registry))
    monkeypatch.undo()
    assert LAYER in registry.content.damaged()


def test_what_is_taken_away_meanwhile_is_no_damage(
    registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys = list(registry.backend.keys("blobs/"))
    registry.backend.delete(keys[0])
    monkeypatch.setattr(registry.backend, "keys", lambda *_: iter(keys))
    assert [one.key for one in verify.contents(registry)] == keys[1:]


def test_sources_are_asked_in_order_for_what_is_needed(registry: Registry) -> None:
    asked: list[Need] = []

    def has_none(need: Need) -> str:
        asked.append(need)
        return ""

    other = Digest.of(b"nobody needs it")
    registry.content.put(other, [b"nobody needs it"])
    mender = Mender(registry, [has_none, lambda need: "there", lambda need: "never asked"])
    (need,) = mender.needs([LAYER, other])
    assert need == Need(LAYER, ("team/app",))
    assert mender.mend(need).startswith("here") and not asked
    flip(registry, layout.blob(LAYER))
    assert (mender.mend(need), asked) == ("there", [need])
    registry.content.denied.add(Denial(LAYER))
    assert list(mender.needs([LAYER])) == []


def test_what_is_bad_is_told_and_tried_again_later(registry: Registry, tmp_path: Path) -> None:
    tries: list[Need] = []

    def source(need: Need) -> str:
        tries.append(need)
        return ""

    registry.backend.delete(layout.blob(LAYER))
    scrubber = Scrubber(registry, tmp_path, Plan(30, 1 << 40), [source])
    scrubber._turn()
    told = read_progress(tmp_path)
    assert (told.damaged, told.missing) == (1, (str(LAYER),))
    assert told.images == (f"team/app@{IMAGE.digest}",)
    assert told.ended and not told.position
    for _ in range(3):
        scrubber._next_look = 0.0
        scrubber._turn()
    assert len(tries) == 1
    registry.content.put(LAYER, [IMAGE.layer])
    scrubber._next_look = scrubber._next_try = 0.0
    scrubber._turn()
    healed = read_progress(tmp_path)
    assert (healed.damaged, healed.missing, healed.images) == (0, (), ())


def test_what_a_lost_manifest_hid_is_mended_too(registry: Registry, tmp_path: Path) -> None:
    bodies = {Digest.of(body): body for body in (IMAGE.manifest, *IMAGE.blobs)}

    def source(need: Need) -> str:
        registry.content.put(need.digest, [bodies[need.digest]])
        return "there"

    for digest in bodies:
        registry.backend.delete(layout.blob(digest))
    scrubber = Scrubber(registry, tmp_path, Plan(30, 1 << 40), [source])
    scrubber._turn()
    scrubber._next_look = 0.0
    scrubber._turn()
    assert all(verify.is_good(registry, digest) for digest in bodies)
    assert read_progress(tmp_path).damaged == 0
