"""What this node knows of the state of one base URL, shared by its processes through a small file.

After three failures, or one Retry-After, the URL is left alone for a while, a minute at most; then
one request may try again. Lost or damaged memory is harmless: it only costs a try.
"""

from __future__ import annotations

import errno
import json
import logging
import secrets
import threading
import time
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path

log = logging.getLogger(__name__)

THRESHOLD = 3
FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 5.0, 30.0
LONGEST_RETRY_AFTER_SECONDS = 60.0
"""However long it asks us to wait: one question a minute burdens nobody, and it may be back."""
TRY_SECONDS = 25.0
"""How long the one that tries again may take before another may."""
SETTLE_SECONDS = 3.0
"""Failures that come in one burst count as one when the pause grows."""
MAX_BYTES = 4096
MAX_AGE_SECONDS = 90 * 86400.0
DIRECTORY = "upstreams"
"""In the state directory: a directory an upstream, a file a base URL."""
BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


@dataclass(frozen=True, slots=True)
class State:
    """What is known. Pauses are in monotonic time of the boot named, the rest in wall-clock time.

    failures  in a row
    until     nobody asks before
    grown     when the pause was last made longer
    overruns  clients that waited in vain for an answer, since the last one came
    contact   the last answer, whatever it said; 0 = never
    error     how the last failure read, and errored when it was
    """

    failures: int = 0
    until: float = 0.0
    grown: float = 0.0
    overruns: int = 0
    boot: str = ""
    contact: float = 0.0
    error: str = ""
    errored: float = 0.0


class Breaker:
    """The breaker of one URL. Safe in threads; processes see each other's news.

    only_if_met  there is no file, and so no news, before the first contact
    """

    def __init__(self, path: Path, *, only_if_met: bool = False) -> None:
        self._path, self._only_if_met = path, only_if_met
        self._lock = threading.Lock()
        self._boot = boot_id()
        self._stamp: tuple[int, int] | None = None
        self._state = State()

    def state(self) -> State:
        """What is known now."""
        with self._lock:
            return self._refreshed()

    def closed(self) -> bool:
        """Whether the URL answers, as far as is known. Changes nothing, unlike allows."""
        state = self.state()
        return state.failures < THRESHOLD or state.boot != self._boot

    def answered_within(self, seconds: float) -> bool:
        """Whether the last question was answered, and lately."""
        state = self.state()
        return not state.failures and 0 <= time.time() - state.contact < seconds

    def allows(self) -> bool:
        """Whether the URL may be asked now; after a pause, one asks and the rest wait on."""
        with self._lock:
            now, state = time.monotonic(), self._refreshed()
            if state.boot == self._boot and now < state.until:
                return False
            if state.failures >= THRESHOLD:
                self._write(replace(state, until=now + TRY_SECONDS, boot=self._boot))
            return True

    def succeeded(self) -> None:
        """Note an answer that says something about content, a 404 too."""
        with self._lock:
            state = self._refreshed()
            if state.failures or state.overruns or abs(time.time() - state.contact) > 1:
                closed = replace(state, failures=0, until=0.0, grown=0.0, overruns=0)
                self._write(replace(closed, contact=time.time(), boot=self._boot))

    def overran(self) -> None:
        """Note that a client waited in vain; the question goes on."""
        with self._lock:
            state = self._refreshed()
            self._write(replace(state, overruns=state.overruns + 1))

    def failed(self, error: str, retry_after: float | None = None) -> None:
        """Note that the URL gave no usable answer.

        retry_after  seconds that it asks us to wait; more than LONGEST_RETRY_AFTER_SECONDS are less
        """
        with self._lock:
            state, now = self._refreshed(), time.monotonic()
            if state.boot != self._boot:
                state = replace(state, failures=0, until=0.0, grown=0.0, boot=self._boot)
            failures, grown = THRESHOLD if retry_after else state.failures + 1, now
            if state.failures >= THRESHOLD and now - state.grown < SETTLE_SECONDS:
                failures, grown = state.failures, state.grown
            asked = min(retry_after or 0.0, LONGEST_RETRY_AFTER_SECONDS)
            until = now + max(asked, _pause(failures))
            told = replace(state, error=error[:500], errored=time.time())
            self._write(replace(told, failures=failures, until=until, grown=grown))

    def _refreshed(self) -> State:
        try:
            status = self._path.stat()
            stamp = (status.st_ino, status.st_mtime_ns)
            if stamp != self._stamp:
                self._state, self._stamp = _load(self._path), stamp
        except FileNotFoundError:
            return self._state
        except (OSError, ValueError, TypeError) as exc:
            log.debug("no news of an upstream: %s", exc)  # what this process knows still holds
        return self._state

    def _write(self, state: State) -> None:
        self._state = state
        if self._only_if_met and not state.contact:
            return
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._replace(json.dumps(asdict(state)))
        except OSError as exc:
            # The state directory is full or away: this process still knows.
            log.debug("an upstream's state is not shared: %s", exc)

    def _replace(self, text: str) -> None:
        new = self._path.with_name(f"{self._path.name}.{secrets.token_hex(8)}.new")
        try:
            new.write_text(text)
            new.replace(self._path)
        finally:
            new.unlink(missing_ok=True)


def sweep(state: Path, max_age_seconds: float = MAX_AGE_SECONDS) -> None:
    """Forget what was last written so long ago, in a state directory. Raises: OSError."""
    for directory in (state / DIRECTORY).glob("*/"):
        for path in directory.iterdir():
            if _is_older(path, time.time() - max_age_seconds):
                path.unlink(missing_ok=True)
        try:
            directory.rmdir()
        except OSError as exc:
            if exc.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                raise


def boot_id() -> str:
    """Return what tells this boot of the machine from every other; "" where nothing does."""
    try:
        return BOOT_ID.read_text().strip()
    except OSError:
        return ""


def _is_older(path: Path, when: float) -> bool:
    """Whether a file was written before; one that has just gone was a writer's temporary."""
    try:
        return path.stat().st_mtime < when
    except FileNotFoundError:
        return False


def _load(path: Path) -> State:
    """Read a state; another version may have written more, or less. Raises: OSError, ValueError."""
    with path.open() as file:
        read = json.loads(file.read(MAX_BYTES))
    return State(**{field.name: read[field.name] for field in fields(State) if field.name in read})


def _pause(failures: int) -> float:
    """Seconds to leave the URL alone after so many failures."""
    if failures < THRESHOLD:
        return 0.0
    grown = FIRST_PAUSE_SECONDS * 2.0 ** min(failures - THRESHOLD, 8)
    return min(grown, LONGEST_PAUSE_SECONDS)
