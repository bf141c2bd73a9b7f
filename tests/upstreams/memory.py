"""How much memory a server's workers took at most."""

from __future__ import annotations

import re
from pathlib import Path

from tests.live import Server

PEAK, NOW = "VmHWM", "VmRSS"
_FORGET_PEAK = "5"


class Memory:
    """Watches the resident memory of the workers that live now, from its making on."""

    def __init__(self, server: Server) -> None:
        self._before = {pid: _bytes(pid, NOW) for pid in server.workers()}
        for pid in self._before:
            Path(f"/proc/{pid}/clear_refs").write_text(_FORGET_PEAK)

    def growth(self) -> int:
        """Bytes by which the worker that grew most exceeded what it had."""
        return max(_bytes(pid, PEAK) - before for pid, before in self._before.items())


def _bytes(pid: int, field: str) -> int:
    found = re.search(rf"^{field}:\s+(\d+) kB$", Path(f"/proc/{pid}/status").read_text(), re.M)
    assert found, f"no {field} of process {pid}"
    return 1024 * int(found[1])
