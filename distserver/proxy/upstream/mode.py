"""How the proxy behaves now: the operator's switch in the state directory, else the configuration.

online        a held tag is asked for again when its time is over
prefer-cache  a held tag is served at once and asked for in the background; misses go upstream
offline       no socket is opened

In doubt it is offline: what is held is served all the same, and a pull can be repeated, but what
was sent cannot be taken back. So a file that holds no mode, or never could be read, means offline.
"""

from __future__ import annotations

import logging
import os
import secrets
from pathlib import Path

from distserver.config import ConfigError

log = logging.getLogger(__name__)

ONLINE, PREFER_CACHE, OFFLINE = MODES = ("online", "prefer-cache", "offline")
MAX_BYTES = 64


class Mode:
    """The mode as of now; a switch is seen at the next question.

    state       the node's state directory
    configured  what this process's configuration says
    """

    def __init__(self, state: Path, configured: str) -> None:
        self._switch, self._announced = _Word(state / "mode"), _Word(state / "mode.configured")
        self._own = configured

    def now(self) -> str:
        """Return the mode in force. Blocks on: two stats."""
        return self.switched() or self.configured

    @property
    def configured(self) -> str:
        """What the configuration says of the server that started last, else this process's own."""
        return self._announced.read() or self._own

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
        """Let processes that began with an earlier configuration go by this one's mode.

        Raises: ConfigError where an earlier mode would hold in place of offline.
        """
        try:
            self._announced.write(self._own)
        except OSError as exc:
            log.warning("other processes are not told of the mode %s: %s", self._own, exc.strerror)
            self._withdraw()
        if (switched := self.switched() or self._own) != self._own:
            says = f"the configuration says {self._own}"
            log.warning("the mode is %s, switched by `distserver mode`; %s", switched, says)

    def _withdraw(self) -> None:
        """Remove what an earlier run announced, so that our own mode holds."""
        try:
            self._announced.write(None)
        except OSError as exc:
            said = f"{exc.filename} says {self.configured} and cannot be changed: {exc.strerror}"
            if self._own == OFFLINE != self.configured:
                raise ConfigError(f"mode is offline, but {said}") from exc
            log.warning("%s", said)


class _Word:
    """A file that holds a mode, or is not there; read again when it changes."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._known: tuple[tuple[int, int] | None, str | None] = (None, OFFLINE)
        self._readable = True

    def read(self) -> str | None:
        """Return the mode; None where there is none. A file that cannot be read is as it was."""
        stamp, word = self._known
        try:
            status = self._path.stat()
            if stamp != (status.st_ino, status.st_mtime_ns):
                stamp, word = (status.st_ino, status.st_mtime_ns), self._parse()
        except (FileNotFoundError, NotADirectoryError):
            stamp, word = None, None
        except OSError as exc:
            if self._readable:
                log.warning("the mode stays %s, %s: %s", word, self._path, exc.strerror)
            self._readable = False
            return word
        self._readable, self._known = True, (stamp, word)
        return word

    def write(self, mode: str | None) -> None:
        """Replace the file; None removes it. It outlives a loss of power. Raises: OSError."""
        directory = self._path.parent
        try:
            directory.mkdir(parents=True, exist_ok=True)
            if mode is None:
                self._path.unlink(missing_ok=True)
            else:
                self._replace(mode + "\n")
            _sync(directory)
        except OSError as exc:
            exc.filename = str(self._path)
            raise

    def _replace(self, text: str) -> None:
        new = self._path.with_name(f"{self._path.name}.{secrets.token_hex(8)}.new")
        try:
            with new.open("x") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            new.replace(self._path)
        finally:
            new.unlink(missing_ok=True)

    def _parse(self) -> str:
        with self._path.open(encoding="utf-8", errors="replace") as file:
            text = file.read(MAX_BYTES).strip()
        if text in MODES:
            return text
        does = "offline until `distserver mode` says another"
        log.error("%s holds %r, which is no mode: %s", self._path, text, does)
        return OFFLINE


def _sync(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
