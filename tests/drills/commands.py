"""Our commands as an operator runs them, each a process, on the storage of a directory."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

RUN_SECONDS = 120.0


@dataclass(frozen=True)
class Ours:
    """The commands of one site; directory has its storage/ and state/, as a live server's has."""

    directory: Path

    @property
    def storage(self) -> Path:
        return self.directory / "storage"

    def begin(self, *arguments: str | Path) -> subprocess.Popen[str]:
        """Start a command."""
        where = ("--storage", self.storage, "--state", self.directory / "state")
        return subprocess.Popen(
            [sys.executable, "-m", "distserver", *map(str, (*arguments, *where))],
            env={**os.environ, "DISTSERVER_RESERVE_BYTES": "0"},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, *arguments: str | Path, code: int = 0) -> str:
        """Run a command to its end, with this exit code; return what it says."""
        process = self.begin(*arguments)
        out, err = process.communicate(timeout=RUN_SECONDS)
        assert process.returncode == code, (process.args, out, err)
        assert "Traceback" not in err
        return out + err

    def do(self, *arguments: str | Path) -> dict[str, Any]:
        """Run a command that ends with a summary; return that."""
        summary: dict[str, Any] = json.loads(self.run(*arguments, "--json").splitlines()[-1])
        return summary

    def images(self) -> dict[str, str]:
        """All tags with their digests."""
        lines = [line.split() for line in self.run("ls").splitlines()]
        return {line[0]: line[1] for line in lines if len(line) == 2}

    def whole(self) -> bool:
        """Whether every byte and every image is whole. Raises: AssertionError if not."""
        return bool(self.run("verify"))
