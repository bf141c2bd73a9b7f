"""Commands that a test drives. A missing one fails the test: a skip would look like success."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

_BIN = Path(__file__).parent.parent.parent / ".tools" / "bin"
_SYSTEM = ("/usr/sbin", "/sbin")


def require(command: str) -> str:
    """Return the path of a command, ours of .tools/bin before the system's.

    Fails the test if there is none.
    """
    path = os.pathsep.join([str(_BIN), os.environ.get("PATH", os.defpath), *_SYSTEM])
    found = shutil.which(command, path=path)
    if found is None:
        pytest.fail(f"{command} is not installed; `make components` installs it", pytrace=False)
    return found
