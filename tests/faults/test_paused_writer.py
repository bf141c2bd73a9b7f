"""A writer sleeps at each step, longer than grace and hold, and garbage is collected meanwhile."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from backends import initialise, open_backend
from backends.base import Watched
from distserver.oci.digests import Digest
from distserver.oci.errors import RegistryError
from distserver.oci.names import Tag
from distserver.registry import Registry, local_registry
from distserver.registry.gc import Limits, collect
from tests.counts import count
from tests.faults.paused_push import IMAGE, NAME, NO_SUCH_CALL, REFUSED, TAG
from tests.figures import record

EVERY = count(25, 1)
AT_ONCE = Limits(grace_seconds=0, hold_seconds=0)
MAX_CALLS = 200
pytestmark = pytest.mark.fault


@pytest.fixture(params=count([1], [1, 3]))
def places(request: pytest.FixtureRequest, tmp_path: Path) -> list[str]:
    made = [tmp_path / str(number) for number in range(request.param)]
    for place in made:
        place.mkdir()
    return [str(place) for place in made]


@pytest.mark.parametrize("there", count([True], [False, True]))
def test_a_writer_that_slept_loses_nothing(places: list[str], there: bool) -> None:
    paused_pushes(places, there, "a set of 3" if len(places) > 1 else "a directory")


def paused_pushes(places: list[str], there: bool, where: str) -> None:
    """Push again and again, each time paused at another call, until a push has no such call."""
    acknowledged = refused = 0
    for number in range(1, MAX_CALLS, EVERY):
        with _registry(places) as registry:
            _begin_anew(registry, there)
            code = _push_paused_at(number, places, registry)
            if code == NO_SUCH_CALL:
                break
            assert code in (0, REFUSED)
            acknowledged, refused = acknowledged + (code == 0), refused + (code == REFUSED)
            collect(registry, AT_ONCE)
            if code == 0:
                _assert_whole(registry)
    else:
        pytest.fail("a push has no end")
    assert acknowledged
    record(
        "SIGSTOP",
        f"a push to {where} that {'skips' if there else 'uploads'} its blobs is stopped at each of"
        f" its {acknowledged + refused} calls, two runs with no margin meanwhile, then goes on",
        "0 lost",
        f"0 of {acknowledged} acknowledged lost, {refused} refused",
    )


@contextmanager
def _registry(places: list[str]) -> Iterator[Registry]:
    """A registry in this process; nobody watches its members afterwards."""
    backend = open_backend(*places, reserve_bytes=0)
    initialise(backend)
    yield local_registry(backend)
    if isinstance(backend, Watched):
        backend.unwatch()


def _begin_anew(registry: Registry, there: bool) -> None:
    """Leave nothing of the last push; if so wanted, the blobs that nobody names any more."""
    for digest in registry.manifests.digests(NAME):
        registry.manifests.delete(NAME, digest)
    collect(registry, AT_ONCE)
    for blob in IMAGE.blobs if there else ():
        registry.blobs.put(NAME, Digest.of(blob), [blob])


def _push_paused_at(number: int, places: list[str], registry: Registry) -> int:
    command = [sys.executable, "-m", "tests.faults.paused_push", str(number), *places]
    process = subprocess.Popen(command)
    try:
        _, status = os.waitpid(process.pid, os.WUNTRACED)
        if not os.WIFSTOPPED(status):
            process.returncode = os.waitstatus_to_exitcode(status)
            return process.returncode
        for _ in range(2):
            collect(registry, AT_ONCE)
        process.send_signal(signal.SIGCONT)
        return process.wait(60)
    finally:
        if process.returncode is None:
            process.kill()
            process.wait(10)


def _assert_whole(registry: Registry) -> None:
    try:
        assert registry.manifests.get(NAME, Tag(TAG)).data == IMAGE.manifest
        for blob in IMAGE.blobs:
            with registry.blobs.open(NAME, Digest.of(blob)) as reader:
                assert b"".join(iter(lambda: reader.read(1 << 20), b"")) == blob
    except RegistryError as exc:
        raise AssertionError(f"an acknowledged image is lost: {exc.message}") from exc
