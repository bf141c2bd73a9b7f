"""HTTP/1.1 as the fault proxy needs it: heads as they came, in their order, and changed copies."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import BinaryIO

TLS_HELLO = b"\x16"
MAX_LINE = 1 << 16


@dataclass(frozen=True)
class Head:
    """A start line and headers. Names are found in any case."""

    start: str
    headers: tuple[tuple[str, str], ...] = ()

    def get(self, name: str, default: str = "") -> str:
        """Value of the first header of that name."""
        found = (value for key, value in self.headers if key.lower() == name.lower())
        return next(found, default)

    def having(self, name: str, value: str) -> Head:
        """A copy in which the header has this value, whether it was there or not."""
        return replace(self, headers=(*self.without(name).headers, (name, value)))

    def without(self, *names: str) -> Head:
        """A copy without these headers."""
        gone = {name.lower() for name in names}
        kept = tuple(pair for pair in self.headers if pair[0].lower() not in gone)
        return replace(self, headers=kept)

    @property
    def status(self) -> int:
        """Status of an answer."""
        return int(self.start.split(" ", 2)[1])

    @property
    def first_byte(self) -> int:
        """Offset at which an answer's body begins in the whole: that of Content-Range, else 0."""
        _, _, given = self.get("Content-Range").partition("bytes ")
        return int(given.partition("-")[0]) if given else 0

    def __bytes__(self) -> bytes:
        lines = [self.start, *(f"{name}: {value}" for name, value in self.headers), "", ""]
        return "\r\n".join(lines).encode("latin-1")


def read_head(stream: BinaryIO) -> Head | None:
    """Read up to the empty line; None if the other side ends before it, or speaks TLS."""
    start = stream.readline(MAX_LINE)
    if not start.endswith(b"\r\n") or start.startswith(TLS_HELLO):
        return None
    headers: list[tuple[str, str]] = []
    while (line := stream.readline(MAX_LINE)) != b"\r\n":
        if not line.endswith(b"\r\n"):
            return None
        name, _, value = line.decode("latin-1").strip().partition(":")
        headers.append((name, value.strip()))
    return Head(start.decode("latin-1").strip(), tuple(headers))


def answer_head(status: int, length: int, headers: dict[str, str] | None = None) -> Head:
    """Head of an answer of our own with a body of that length."""
    given = {"Content-Length": str(length), **(headers or {})}
    return Head(f"HTTP/1.1 {status} X", tuple(given.items()))
