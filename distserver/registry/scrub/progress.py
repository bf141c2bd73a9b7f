"""How far the scrub of a node is, and what is damaged. Losing it costs one more pass."""

from __future__ import annotations

import json
import logging
import os
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from distserver.oci.digests import Digest
from distserver.oci.errors import DigestInvalid

log = logging.getLogger(__name__)

FILE, LOCK = "scrub.json", "scrub.lock"
MAX_BYTES = 1 << 20
MAX_MISSING, MAX_IMAGES = 1000, 20
DAY_SECONDS = 86400.0


@dataclass(frozen=True, slots=True)
class Progress:
    """What is remembered. Times are wall-clock seconds; 0 = never.

    position      key of the last entry of this pass that was looked at; "" = none is under way
    begun         when this pass, or else the last one, began
    bytes         that this pass has read
    found         damaged entries that this pass found
    ended         when the last whole pass ended
    last_seconds  how long that took
    last_bytes    what it read
    damaged       entries that somebody needs and that are damaged, or missing, now
    missing       digests of those that are missing, MAX_MISSING at most
    images        images that lack them, MAX_IMAGES at most
    more_images   how many images lack them beside these
    """

    position: str = ""
    begun: float = 0.0
    bytes: int = 0
    found: int = 0
    ended: float = 0.0
    last_seconds: float = 0.0
    last_bytes: int = 0
    damaged: int = 0
    missing: tuple[str, ...] = ()
    images: tuple[str, ...] = ()
    more_images: int = 0

    def is_due(self, days: int, now: float) -> bool:
        """Whether there is to be read: a pass is under way, or the last one began days ago."""
        return bool(self.position) or not 0 <= now - self.begun < days * DAY_SECONDS


def read_progress(state: Path) -> Progress:
    """Return what is remembered; nothing, where the file is gone or damaged."""
    try:
        with (state / FILE).open() as file:
            return _parse(json.loads(file.read(MAX_BYTES)))
    except FileNotFoundError:
        return Progress()
    except (OSError, ValueError, TypeError, DigestInvalid) as exc:
        log.warning("the scrub begins anew: %s: %s", state / FILE, exc)
        return Progress()


def write_progress(state: Path, progress: Progress) -> None:
    """Remember it. Only the process that has the lock may. Raises: OSError."""
    new = state / f"{FILE}.new"
    with new.open("w") as file:
        file.write(json.dumps(asdict(progress)))
        file.flush()
        os.fsync(file.fileno())
    new.replace(state / FILE)


def _parse(value: object) -> Progress:
    """Raises: TypeError, DigestInvalid."""
    if not isinstance(value, dict):
        raise TypeError("it is no object")
    given: dict[str, Any] = {
        key: tuple(one) if isinstance(one, list) else one for key, one in value.items()
    }
    made, plain = Progress(**given), Progress()
    for field in fields(Progress):
        kind = type(getattr(plain, field.name))
        if not isinstance(getattr(made, field.name), (kind, int) if kind is float else kind):
            raise TypeError(f"{field.name} is no {kind.__name__}")
    if not all(isinstance(text, str) for text in made.missing + made.images):
        raise TypeError("a text is missing")
    for text in made.missing:
        Digest.parse(text)
    return made
