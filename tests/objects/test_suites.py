"""What a registry does does not depend on its storage: whole suites again, on object stores.

At reduced counts on one of them, those parts that touch the storage most.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.counts import count
from tests.objects.servers import BUCKET, FIRST, SERVERS, ObjectStore

ROOT = Path(__file__).parent.parent.parent
SECONDS = 1800
RESOURCES = ("deletes", "mounts", "tags")
_PYTEST = ("pytest", "-q", "-m", "not files", "-p", "no:cacheprovider")
SUITES = {
    "protocol": (
        *_PYTEST,
        *count([f"tests/protocol/test_{one}.py" for one in RESOURCES], ["tests/protocol"]),
    ),
    "read your writes": (*_PYTEST, "tests/faults/test_read_your_writes.py"),
    "conformance": ("tests.conformance.run", *count(["--quick"], [])),
}


@pytest.fixture(scope="module", params=count([FIRST], sorted(SERVERS)))
def alone(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ObjectStore]:
    store = SERVERS[request.param](tmp_path_factory.mktemp("suites"))
    yield store
    store.kill()


@pytest.mark.slow
@pytest.mark.parametrize("suite", SUITES)
def test_a_suite_passes_on_an_object_store(alone: ObjectStore, suite: str) -> None:
    env = {
        **os.environ,
        "TEST_STORAGES": f"s3://{BUCKET}",
        "DISTSERVER_S3_ENDPOINT": alone.endpoint,
    }
    done = subprocess.run(
        [sys.executable, "-m", *SUITES[suite]],
        env=env,
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=SECONDS,
    )
    assert done.returncode == 0, done.stdout[-5000:] + done.stderr[-2000:]
