"""Measured figures of promises: recorded by the tests that show them, see tests.promises."""

from __future__ import annotations

import json
import os
import re
import subprocess
from pathlib import Path

from tests.live import REPLICAS

DIRECTORY = Path(__file__).parent.parent / ".figures"


def record(promise: str, experiment: str, aim: str, figure: str) -> None:
    """Keep what a test measured, over an older figure of the same experiment.

    promise     id, such as "R-01", or the check's name where it has none
    experiment  what was done, with its counts
    aim         what was wanted
    figure      what came out
    """
    DIRECTORY.mkdir(exist_ok=True)
    if "TEST_STORAGES" in os.environ:
        experiment += ", on an object store"
    if REPLICAS > 1:
        experiment += f"; on a set of {REPLICAS} directories"
    row = {"promise": promise, "experiment": experiment, "aim": aim, "figure": figure}
    slug = re.sub(r"[^a-z0-9]+", "-", f"{promise} {experiment}".lower())[:120]
    (DIRECTORY / f"{slug}.json").write_text(json.dumps({**row, "commit": _commit()}) + "\n")


def _commit() -> str:
    command = ["git", "rev-parse", "--short", "HEAD"]
    return subprocess.run(
        command, capture_output=True, text=True, check=True, timeout=10
    ).stdout.strip()
