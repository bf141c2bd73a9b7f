"""Our own image: built once for the same source, and kept in .tools/image."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

from distserver.bundle.saving.own import file_name

SOURCE = Path(__file__).parents[2]
KEPT = SOURCE / ".tools/image"
BUILD_SECONDS, DAY_SECONDS = 600.0, 86400.0
_FILES = ("setup.cfg", "pyproject.toml", "constraints.txt", "README.md", "LICENSE")
_DIRECTORIES = ("distserver", "backends", "contrib/image")


def own_archive(arch: str = "amd64") -> Path:
    """Return the archive of our image as it is built from this source."""
    path = KEPT / _inputs() / file_name(arch)
    if not path.exists():
        _forget_old()
        unfinished = path.with_suffix(f".{os.getpid()}")
        build(arch, unfinished)
        unfinished.rename(path)
    return path


def _forget_old() -> None:
    """Remove archives that were built more than a day ago, from older source."""
    for directory in KEPT.glob("*"):
        if directory.stat().st_mtime < time.time() - DAY_SECONDS:
            shutil.rmtree(directory)


def build(arch: str, path: Path, env: Mapping[str, str] | None = None) -> None:
    """Build it, as `make image` does. Raises: CalledProcessError."""
    command = (sys.executable, SOURCE / "contrib/image/build.py", "--arch", arch, "--output", path)
    environ = {**os.environ, **(env or {})}
    subprocess.run(command, env=environ, check=True, timeout=BUILD_SECONDS)


def _inputs() -> str:
    """A hash of all that is ours in the image; Debian's packages may be newer in a new one."""
    whole = hashlib.sha256(sys.version.encode())
    for path in _sources():
        whole.update(f"{path.relative_to(SOURCE)} {path.stat().st_size}\n".encode())
        whole.update(path.read_bytes())
    return whole.hexdigest()[:16]


def _sources() -> Iterator[Path]:
    yield from (SOURCE / name for name in _FILES)
    for name in _DIRECTORIES:
        found = sorted((SOURCE / name).rglob("*"))
        yield from (path for path in found if path.is_file() and path.suffix != ".pyc")
