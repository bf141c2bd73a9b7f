"""Names of damaged copies that are kept aside once good ones have taken their places. Pure."""

from __future__ import annotations

import re
import secrets

QUARANTINE = "trash/damaged/"
KEEP_SECONDS = 30 * 86400.0
"""How long they are kept: somebody may make use of them."""
_NAME = re.compile(r"[a-z0-9]+-[0-9a-f]+-([0-9a-f]{8})[0-9a-f]{8}")


def aside(algorithm: str, digits: str, now: float) -> str:
    """Return a new key for the damaged bytes of a digest.

    Its nonce begins with the time: an entry that is linked keeps the time of its bytes.
    """
    return f"{QUARANTINE}{algorithm}-{digits}-{int(now):08x}{secrets.token_hex(4)}"


def is_over(key: str, now: float) -> bool:
    """Whether a key of aside() was made so long ago that its bytes may go."""
    match = _NAME.fullmatch(key.removeprefix(QUARANTINE))
    return match is not None and now - int(match[1], 16) > KEEP_SECONDS
