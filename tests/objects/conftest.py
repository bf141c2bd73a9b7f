"""Object stores that live as long as the run, and storages of a test's own on each of them."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from boto3.session import Session

from backends import Backend, initialise, open_backend
from tests.backends.conftest import Reopen
from tests.counts import FULL
from tests.objects.servers import CREDENTIALS, FIRST, SERVERS, ObjectStore, minio

FILES = {"files", "fake", "root"}
"""Fixtures of tests that are the file system's own, though in modules that we share."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = Path(__file__).parent
    items[:] = [item for item in items if here not in item.path.parents or _is_wanted(item)]


def _is_wanted(item: Any) -> bool:
    """Whether a test is about object stores. Reduced, other servers get the contract only."""
    fixtures, params = set(item.fixturenames), getattr(item, "callspec", None)
    if item.function.__module__.startswith("tests.backends"):
        return "store" in fixtures and not FILES & fixtures
    return FULL or params is None or params.params.get("store", FIRST) == FIRST


@pytest.fixture(scope="session", autouse=True)
def credentials() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        for name, value in CREDENTIALS.items():
            patch.setenv(name, value)
        # Each session reads the description of S3 again, 0.1 s of CPU, and most tests need two.
        patch.setattr("backends.s3.client.Session", cache(Session))
        yield


@pytest.fixture(scope="session", params=sorted(SERVERS))
def store(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, credentials: None
) -> Iterator[ObjectStore]:
    """Each kind of server in turn, for all tests of a run."""
    store = SERVERS[request.param](tmp_path_factory.mktemp(request.param))
    yield store
    store.kill()


@pytest.fixture
def own(tmp_path: Path) -> Iterator[ObjectStore]:
    """A MinIO that a test may kill."""
    store = minio(tmp_path / "minio")
    yield store
    store.kill()


@pytest.fixture
def reopen(store: ObjectStore) -> Reopen:
    """Return a handle of one storage, with connections of its own at each call."""
    url = store.url()
    initialise(open_backend(url))
    return lambda: open_backend(url)


@pytest.fixture
def backend(reopen: Reopen) -> Backend:
    """One handle of that storage."""
    return reopen()
