"""Fixtures that every suite shares: servers that stop with the test."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.live import Server, running, start_server


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Server]]:
    """Start servers, each in tmp_path or the directory given; all are killed at the end."""
    with ExitStack() as stack:

        def go(directory: Path | None = None, *arguments: str, **options: object) -> Server:
            server = start_server(directory or tmp_path / "server", *arguments, **options)  # type: ignore[arg-type]
            stack.callback(server.kill)
            return server

        yield go


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One server for all tests of a run that only push to repositories of their own."""
    with running(start_server(tmp_path_factory.mktemp("shared"), "--workers", "2")) as server:
        yield server
