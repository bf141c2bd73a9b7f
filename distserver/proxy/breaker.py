"""What this node knows of an upstream's state, shared by its processes through a small file.

After three failures, or one Retry-After, the upstream is left alone for a while; then one request
may try again. Lost or damaged memory is harmless: it only costs a try.
"""

from __future__ import annotations

import json
import threading
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path

THRESHOLD = 3
FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 5.0, 30.0
MAX_BYTES = 4096


@dataclass(frozen=True, slots=True)
class State:
    """failures in a row; until = monotonic time before which nobody asks, of the boot named.

    contact  wall-clock time of the last answer, 0 = never; error = how the last failure read
    """

    failures: int = 0
    until: float = 0.0
    boot: str = ""
    contact: float = 0.0
    error: str = ""


class Breaker:
    """The breaker of one upstream. Safe in threads; processes see each other's news."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._boot = _boot_id()
        self._stamp: tuple[int, int] | None = None
        self._state = State()

    def state(self) -> State:
        """What is known now."""
        with self._lock:
            self._refresh()
            return self._state

    def closed(self) -> bool:
        """Whether the upstream answers, as far as is known. Changes nothing, unlike allows."""
        state = self.state()
        return state.failures < THRESHOLD or state.boot != self._boot

    def allows(self) -> bool:
        """Whether the upstream may be asked now; after a pause, one asks and the rest wait on."""
        with self._lock:
            self._refresh()
            now, state = time.monotonic(), self._state
            if state.boot != self._boot or now >= state.until:
                if state.failures >= THRESHOLD:
                    self._write(replace(state, until=now + FIRST_PAUSE_SECONDS, boot=self._boot))
                return True
            return False

    def succeeded(self) -> None:
        """Note an answer that says something about content, a 404 too."""
        with self._lock:
            self._refresh()
            if self._state.failures or time.time() - self._state.contact > 1:
                self._write(State(contact=time.time(), boot=self._boot))

    def failed(self, error: str, retry_after: float | None = None) -> None:
        """Note that the upstream gave no usable answer."""
        with self._lock:
            self._refresh()
            failures = self._state.failures + 1
            pause = retry_after or 0.0
            if failures >= THRESHOLD:
                grown = FIRST_PAUSE_SECONDS * 2 ** min(failures - THRESHOLD, 8)
                pause = max(pause, min(grown, LONGEST_PAUSE_SECONDS))
            elif retry_after:
                failures = THRESHOLD
            until = time.monotonic() + pause
            contact = self._state.contact
            self._write(State(failures, until, self._boot, contact, error[:500]))

    def _refresh(self) -> None:
        try:
            status = self._path.stat()
            stamp = (status.st_ino, status.st_mtime_ns)
            if stamp != self._stamp:
                self._state, self._stamp = State(**json.loads(self._text())), stamp
        except (OSError, ValueError, TypeError):
            return  # no news: what this process knows itself still holds

    def _text(self) -> str:
        with self._path.open() as file:
            return file.read(MAX_BYTES)

    def _write(self, state: State) -> None:
        self._state = state
        new = self._path.with_name(f"{self._path.name}.{threading.get_ident()}.new")
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            new.write_text(json.dumps(asdict(state)))
            new.replace(self._path)
        except OSError:
            return  # the state directory is full or away: this process still knows


def _boot_id() -> str:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return "unknown"
