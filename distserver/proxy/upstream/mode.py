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
    configured  what the configuration says
    """

    def __init__(self, state: Path, configured: str) -> None:
        self._switch, self._current = _Word(state / "mode"), _Word(state / "mode.configured")
        self.configured = configured

    def now(self) -> str:
        """Return the mode in force. Blocks on: two stats."""
        return self.switched() or self._current.read() or self.configured

    @property
    def offline(self) -> bool:
        """Whether no upstream may be asked."""
        return self.now() == OFFLINE

    def switched(self) -> str | None:
        """Return what the operator switched to; None = the configuration holds."""
        return self._switch.read()

    def switch(self, mode: str | None) -> None:
        """Switch every server of this state directory; None = back to the configuration.

        Raises: OSError.
        """
        self._switch.write(mode)

    def announce(self) -> None:
        """Let processes that began with an earlier configuration go by this one's mode."""
        try:
            self._current.write(self.configured)
        except OSError as exc:
            log.warning("the mode is not announced: %s", exc)


class _Word:
    """A file that holds a mode, or is not there; read again when it changes."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._stamp: tuple[int, int] | None = None
        self._kept: str | None = None

    def read(self) -> str | None:
        """Return the mode; None where there is none. What cannot be read is as it was."""
        try:
            status = self._path.stat()
            stamp = (status.st_ino, status.st_mtime_ns)
            if stamp != self._stamp:
                self._kept, self._stamp = self._parse(), stamp
        except FileNotFoundError:
            self._kept = self._stamp = None
        except OSError as exc:
            log.warning("the mode cannot be read: %s", exc.strerror)
        return self._kept

    def write(self, mode: str | None) -> None:
        """Replace the file; None removes it. Raises: OSError."""
        if mode is None:
            self._path.unlink(missing_ok=True)
            return
        self._path.parent.mkdir(parents=True, exist_ok=True)
        new = self._path.with_name(f"{self._path.name}.new")
        new.write_text(mode + "\n")
        new.replace(self._path)

    def _parse(self) -> str | None:
        with self._path.open() as file:
            text = file.read(MAX_BYTES).strip()
        if text in MODES:
            return text
        log.error("%s holds %r, which is no mode", self._path, text)
        return None
