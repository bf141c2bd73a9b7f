"""The n-th call of the file system fails, for every n of a push, a tag, a delete.

Never both an acknowledgement and a loss; nothing acknowledged before is hurt; an error has the
spec's shape; no descriptor and, after a sweep, no temporary is left; the next try works.
"""

from __future__ import annotations

import errno
import gc
import importlib
import itertools
import logging
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from backends import open_backend
from distserver.app import create_app, initialise_storage
from distserver.config import Config
from tests.counts import count
from tests.faults.failing import ERRORS, MODES, FailingOs
from tests.faults.images import (
    Answer,
    Call,
    Image,
    assert_pulls,
    assert_status,
    digest_of,
    in_process,
    make_image,
    push,
    push_blob,
    push_manifest,
)
from tests.figures import record

pytestmark = pytest.mark.fault

MODULES = ("filesystem", "files", "lookups", "temporaries", "durable", "walk", "room", "root")
MODULES += ("witness",)
OLD = make_image("old")
NEW = make_image("new", 70_000)
Steps = Iterator[Answer]


def in_chunks(call: Call) -> Steps:
    """Push an image by sessions, then a manifest with a tag; give up at the first error."""
    for blob in NEW.blobs:
        opened = call("POST", "/v2/a/new/blobs/uploads/")
        yield opened
        session = opened.headers["Location"]
        for part in (blob[:40_000], blob[40_000:]):
            if part:
                yield call("PATCH", session, part)
        yield call("PUT", f"{session}?digest={digest_of(blob)}")
    yield push_manifest(call, "a/new", "v1", NEW.manifest)


def at_once(call: Call) -> Steps:
    for blob in NEW.blobs:
        yield push_blob(call, "a/new", blob)
    yield push_manifest(call, "a/new", "v1", NEW.manifest)


def by_mount(call: Call) -> Steps:
    """Into another repository, what is in the storage already."""
    for blob in OLD.blobs:
        yield call("POST", f"/v2/b/other/blobs/uploads/?mount={digest_of(blob)}&from=a/old")
    yield push_manifest(call, "b/other", "v1", OLD.manifest)


def move_tag(call: Call) -> Steps:
    """Let the tag "moving" name the second manifest instead of the first."""
    yield push_manifest(call, "a/old", "moving", SECOND.manifest)


def delete_tag(call: Call) -> Steps:
    yield call("DELETE", "/v2/a/old/manifests/moving")


def delete_manifest(call: Call) -> Steps:
    yield call("DELETE", f"/v2/a/old/manifests/{SECOND.digest}")


def delete_blob(call: Call) -> Steps:
    yield call("DELETE", f"/v2/a/old/blobs/{digest_of(EXTRA)}")


SECOND = make_image("second")
EXTRA = b"a blob that no manifest names"


def check_push(name: str, image: Image) -> Callable[[Call, bool], None]:
    def check(call: Call, acknowledged: bool) -> None:
        answer = call("GET", f"/v2/{name}/manifests/v1")
        assert_status(answer, *((200,) if acknowledged else (200, 404)))
        if answer.status == 200:
            assert_pulls(call, name, "v1", image)
        push(call, name, "v1", image)
        assert_pulls(call, name, "v1", image)

    return check


def check_move(call: Call, acknowledged: bool) -> None:
    answer = call("GET", "/v2/a/old/manifests/moving")
    assert_status(answer, 200)
    allowed = [SECOND] if acknowledged else [OLD, SECOND]
    assert answer.body in [image.manifest for image in allowed]
    assert_status(push_manifest(call, "a/old", "moving", SECOND.manifest), 201)
    assert call("GET", "/v2/a/old/manifests/moving").body == SECOND.manifest


def check_gone(path: str) -> Callable[[Call, bool], None]:
    def check(call: Call, acknowledged: bool) -> None:
        assert_status(call("GET", path), *((404,) if acknowledged else (200, 404)))
        assert_status(call("DELETE", path), 202, 404)
        assert_status(call("GET", path), 404)

    return check


SCENARIOS: dict[str, tuple[Callable[[Call], Steps], Callable[[Call, bool], None]]] = {
    "push in chunks": (in_chunks, check_push("a/new", NEW)),
    "push at once": (at_once, check_push("a/new", NEW)),
    "mount and push": (by_mount, check_push("b/other", OLD)),
    "move a tag": (move_tag, check_move),
    "delete a tag": (delete_tag, check_gone("/v2/a/old/manifests/moving")),
    "delete a manifest": (delete_manifest, check_gone(f"/v2/a/old/manifests/{SECOND.digest}")),
    "delete a blob": (delete_blob, check_gone(f"/v2/a/old/blobs/{digest_of(EXTRA)}")),
}


def config_of(directory: Path) -> Config:
    return Config(
        storage=(str(directory / "storage"),), state=str(directory / "state"), reserve_bytes=0
    )


def prepare(directory: Path, scenario: str) -> Path:
    """Make a storage with what the scenarios need, all of it acknowledged."""
    config = config_of(directory)
    initialise_storage(config)
    with create_app(config).test_client() as client:
        call = in_process(client)
        push(call, "a/old", "v1", OLD)
        for blob in (*SECOND.blobs, EXTRA):
            assert_status(push_blob(call, "a/old", blob), 201)
        moving = OLD if scenario == "move a tag" else SECOND
        assert_status(push_manifest(call, "a/old", "other", SECOND.manifest), 201)
        assert_status(push_manifest(call, "a/old", "moving", moving.manifest), 201)
    return directory


def attempt(call: Call, steps: Callable[[Call], Steps], failing: FailingOs) -> bool:
    """Run a scenario until a step fails; whether all of it was acknowledged."""
    for answer in steps(call):
        assert_status(answer, 201, 202, *failing.answers)
        if answer.status >= 500:
            return False
    return True


@pytest.fixture(scope="module", autouse=True)
def _frozen() -> Iterator[None]:
    """What all modules hold is not looked at by each of thousands of collections."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


def descriptors() -> int:
    gc.collect()
    return len(os.listdir("/proc/self/fd"))


def run(
    directory: Path, scenario: str, failing: FailingOs, monkeypatch: pytest.MonkeyPatch
) -> bool:
    """One scenario with one failing call, and all that must be true afterwards.

    directory  of a prepared storage, which is used up
    Returns whether all was acknowledged.
    """
    steps, check = SCENARIOS[scenario]
    config = config_of(directory)
    before = descriptors()
    app = create_app(config)
    with app.test_client() as client, monkeypatch.context() as patch:
        for name in MODULES:
            patch.setattr(importlib.import_module(f"backends.{name}"), "os", failing)
        acknowledged = attempt(in_process(client), steps, failing)
        patch.undo()
        assert_pulls(in_process(client), "a/old", "v1", OLD)
    with create_app(config).test_client() as client:
        assert_pulls(in_process(client), "a/old", "v1", OLD)
        check(in_process(client), acknowledged)
    del app, client
    open_backend(config.storage[0], reserve_bytes=0).sweep(0)  # type: ignore[attr-defined]
    assert os.listdir(directory / "storage" / "tmp") == []
    assert descriptors() == before
    return acknowledged


@pytest.fixture(scope="module")
def reads() -> Iterator[list[int]]:
    """Statuses of all reads of which a call failed."""
    found: list[int] = []
    yield found
    record(
        "R-03",
        f"each file-system call of a pull fails in turn (EIO, ENOSPC, ESTALE …), {len(found)} runs",
        "the right answer or 503, never 404, never a wrong byte",
        f"{found.count(503)} refused, 0 wrong",
    )


@pytest.fixture(scope="module")
def writes() -> Iterator[list[bool]]:
    """Whether each push or delete of which a call failed was acknowledged."""
    found: list[bool] = []
    yield found
    record(
        "R-03",
        f"each file-system call of a push, tag or delete fails in turn, also after it was done,"
        f" {len(found)} runs",
        "never both an acknowledgement and a loss; no descriptor, no temporary left",
        f"{found.count(False)} refused, 0 lost, 0 left-overs",
    )


QUESTIONS: dict[str, tuple[str, dict[str, str], bytes | None]] = {
    "a tag": ("manifests/v1", {}, OLD.manifest),
    "a digest": (f"manifests/{OLD.digest}", {}, OLD.manifest),
    "a blob": (f"blobs/{digest_of(OLD.layer)}", {}, OLD.layer),
    "a range": (f"blobs/{digest_of(OLD.layer)}", {"Range": "bytes=10-19"}, OLD.layer[10:20]),
    "the tags": ("tags/list", {}, b'{"name": "a/old", "tags": ["moving", "other", "v1"]}'),
    "referrers": (f"referrers/{OLD.digest}", {}, None),
}


@pytest.mark.parametrize("question", QUESTIONS)
def test_a_failing_call_never_gives_a_wrong_answer(
    question: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    reads: list[int],
) -> None:
    """Reading with any call failing: the right answer, 503, or cut short; never 404."""
    caplog.set_level(logging.CRITICAL)
    prepare(tmp_path, "move a tag")
    path, headers, expected = QUESTIONS[question]
    answers: list[int] = []
    for mode, code in itertools.product(("once", "from then on"), ERRORS[: count(3, 6)]):
        for n in itertools.count(1):
            failing, before = FailingOs(n, code, mode), descriptors()
            client = create_app(config_of(tmp_path)).test_client()
            with client, monkeypatch.context() as patch:
                for name in MODULES:
                    patch.setattr(importlib.import_module(f"backends.{name}"), "os", failing)
                patch.setattr("distserver.registry.content.os", failing)
                answer = in_process(client)("GET", f"/v2/a/old/{path}", **headers)
            assert_status(answer, 200, 206, 503)
            assert answer.status == 503 or expected in (None, answer.body), (n, failing.failed)
            answers.append(answer.status)
            del client
            assert descriptors() == before, (n, failing.failed)
            if not failing.reached:
                break
    assert 503 in answers
    reads.extend(answers)


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_a_failing_call_loses_nothing_acknowledged(
    scenario: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    writes: list[bool],
) -> None:
    caplog.set_level(logging.CRITICAL)
    source = prepare(tmp_path / "prepared", scenario)
    results: list[bool] = []
    for mode, code in itertools.product(MODES[: count(2, 3)], ERRORS[: count(3, 6)]):
        # Every call with the first errors; the others, and the other modes, thinned out.
        dense = mode == MODES[0] and code in ERRORS[: count(1, 3)]
        step = count(5, 1) if dense else count(41, 4)
        for n in itertools.count(1, step):
            failing = FailingOs(n, code, mode)
            note = f"{scenario}: call {n}, {errno.errorcode[code]}, {mode}"
            directory = tmp_path / "run"
            shutil.copytree(source, directory)
            try:
                results.append(run(directory, scenario, failing, monkeypatch))
            except Exception as exc:
                raise AssertionError(f"{note} ({failing.failed})") from exc
            shutil.rmtree(directory)
            if not failing.reached:
                break
    assert False in results, "no failure was ever noticed"
    writes.extend(results)
