"""What the last look at the cache found: a small file in the state directory, for all processes."""

from __future__ import annotations

import json
import logging
from dataclasses import asdict, dataclass
from pathlib import Path

from distserver.proxy.replace import replace

log = logging.getLogger(__name__)

DIRECTORY = "evicting"
MAX_BYTES = 4096

REASONS = {
    "offline": "the mode is offline",
    "unreachable": "an upstream cannot be asked",
    "absent": "upstreams do not have them any more",
    "pushed": "they were pushed here",
    "pinned": "they are pinned",
    "in use": "they run somewhere",
    "coming": "they are on their way",
    "unknown use": "what runs is not known",
    "error": "the storage cannot be looked at",
    "no images": "no image of an upstream is here",
}
"""Why nothing may go."""


@dataclass(frozen=True, slots=True)
class Standing:
    """How the cache stands.

    bytes   of pulled content in the storage
    cap     the most that it may have; 0 = no cap
    over    bytes that had to go and could not
    reason  one of REASONS; "" = nothing hinders
    words   what else is known of it, for people
    """

    bytes: int = 0
    cap: int = 0
    over: int = 0
    reason: str = ""
    words: str = ""

    @property
    def hindrance(self) -> str:
        """Why images that should go stay; "" = none does."""
        if not self.reason:
            return ""
        more = f" ({self.words})" if self.words else ""
        return f"images that should go stay: {REASONS.get(self.reason, self.reason)}{more}"

    def save(self, state: Path) -> None:
        """Tell the other processes of the node. Raises: OSError."""
        path = _path(state)
        path.parent.mkdir(parents=True, exist_ok=True)
        replace(path, json.dumps(asdict(self)).encode())


def last_look(state: Path) -> Standing | None:
    """Return what the last look found; None = there was none."""
    try:
        with _path(state).open() as file:
            return Standing(**json.loads(file.read(MAX_BYTES)))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError) as exc:
        log.debug("how the cache stands is not known: %s", exc)
        return None


def _path(state: Path) -> Path:
    return state / DIRECTORY / "standing.json"
