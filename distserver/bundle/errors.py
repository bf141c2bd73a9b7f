"""What may go wrong with an archive, a bundle or a list: one class, one line for the operator."""

from __future__ import annotations

MAX_SHOWN = 120


class BundleError(Exception):
    """An archive cannot be loaded, or a bundle cannot be saved; the text says why in one line."""


def shown(text: str) -> str:
    """Return a stranger's text so that a terminal can show it: no control characters, not long."""
    quoted = ascii(text)[1:-1]
    return quoted if len(quoted) <= MAX_SHOWN else f"{quoted[:MAX_SHOWN]}…"
