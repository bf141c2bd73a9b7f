"""A headless Chromium that opens one page."""

from __future__ import annotations

import subprocess
from pathlib import Path

from tests.components.require import require

_QUIET = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
)


def dom(home: Path, url: str) -> tuple[str, str]:
    """Return the page as the browser has it after loading, and what its console said."""
    done = _run(home, "--dump-dom", "--enable-logging=stderr", "--v=0", url)
    console = [line for line in done.stderr.splitlines() if "CONSOLE" in line]
    return done.stdout, "\n".join(console)


def screenshot(home: Path, url: str, path: Path, width: int = 1000, height: int = 1200) -> bytes:
    """Return the page as a PNG."""
    _run(home, f"--window-size={width},{height}", f"--screenshot={path}", url)
    return path.read_bytes()


def _run(home: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [require("chromium"), *_QUIET, f"--user-data-dir={home}", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=90)
