"""Fixtures of the drills: a machine on which our make targets have installed the service."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.drills.boot import Machine, machine

SOURCE = Path(__file__).parents[2]
PIP_SECONDS = 300.0


@pytest.fixture(scope="session")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All that an installation without a network needs, as the guide says to prepare it."""
    directory = tmp_path_factory.mktemp("wheels")
    copy = tmp_path_factory.mktemp("source") / "distserver"
    ignored = shutil.ignore_patterns(".*", "build", "*.egg-info", "run")
    shutil.copytree(SOURCE, copy, ignore=ignored)
    pip = [sys.executable, "-m", "pip", "wheel", "--quiet", "-c", "constraints.txt"]
    env = {**os.environ, "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
    command = [*pip, "-w", str(directory), "."]
    subprocess.run(command, cwd=copy, env=env, check=True, timeout=PIP_SECONDS)
    return directory


@pytest.fixture(scope="session")
def shares(wheels: Path) -> dict[str, Path]:
    """What machines see of ours: the source, and the packages."""
    return {"/source": SOURCE, "/wheels": wheels}


@pytest.fixture(scope="session")
def installed(
    tmp_path_factory: pytest.TempPathFactory, shares: dict[str, Path]
) -> Iterator[Machine]:
    """A machine with the service installed and enabled; off, to be put below others."""
    with machine(tmp_path_factory.mktemp("machine") / "installed", shares=shares) as made:
        made.boot()
        made.wait_until_up()
        made.run("make", "-C", "/source", "install-systemd", "WHEELS=/wheels", "ENABLE=1")
        made.shut_down()
        yield made


@pytest.fixture
def start(
    tmp_path: Path, installed: Machine, shares: dict[str, Path]
) -> Iterator[Callable[[], Machine]]:
    """Boot a machine that has the service."""
    with ExitStack() as stack:

        def go() -> Machine:
            made = stack.enter_context(
                machine(tmp_path / "machine", installed.written, shares=shares)
            )
            made.boot()
            return made

        yield go
