"""How often the long tests repeat: reduced in every run, full for acceptance."""

from __future__ import annotations

import os


def count(reduced: int, full: int) -> int:
    """Return full when TEST_COUNTS is "full", else reduced."""
    return full if os.environ.get("TEST_COUNTS") == "full" else reduced
