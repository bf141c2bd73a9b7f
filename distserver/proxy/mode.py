"""How the proxy behaves now: the operator's switch in the state directory, else the configuration.

online        a held tag is asked for again when its time is over
prefer-cache  a held tag is served at once and asked for in the background; misses go upstream
offline       no socket is opened
"""

from __future__ import annotations

import logging
from pathlib import Path

log = logging.getLogger(__name__)

ONLINE, PREFER_CACHE, OFFLINE = MODES = ("online", "prefer-cache", "offline")
MAX_BYTES = 64


class Mode:
    """The mode as of now; a switch is seen at the next question.

    state       the node's state directory
    configured  what holds while nobody has switched
    """

    def __init__(self, state: Path, configured: str) -> None:
        self._path = state / "mode"
        self.configured = configured
        self._stamp: tuple[int, int] | None = None
        self._switched: str | None = None

    def now(self) -> str:
        """Return the mode in force. Blocks on: a stat."""
        return self.switched() or self.configured

    @property
    def offline(self) -> bool:
        """Whether no upstream may be asked."""
        return self.now() == OFFLINE

    def switched(self) -> str | None:
        """Return what the operator switched to; None = the configuration holds."""
        try:
            status = self._path.stat()
        except FileNotFoundError:
            self._stamp = self._switched = None
            return None
        except OSError as exc:
            log.warning("the switch of modes cannot be read: %s", exc.strerror)
            return self._switched
        stamp = (status.st_ino, status.st_mtime_ns)
        if stamp != self._stamp:
            self._switched, self._stamp = self._read(), stamp
        return self._switched

    def switch(self, mode: str | None) -> None:
        """Switch every server of this state directory; None = back to the configuration.

        Raises: OSError.
        """
        if mode is None:
            self._path.unlink(missing_ok=True)
            return
        self._path.parent.mkdir(parents=True, exist_ok=True)
        new = self._path.with_name("mode.new")
        new.write_text(mode + "\n")
        new.replace(self._path)

    def _read(self) -> str | None:
        with self._path.open() as file:
            text = file.read(MAX_BYTES).strip()
        if text not in MODES:
            log.error("%s holds %r, which is no mode; %s holds", self._path, text, self.configured)
            return None
        return text
