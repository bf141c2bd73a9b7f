"""The contract on an operator's own storage: what `distserver check-storage` runs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from backends.base import Backend


@dataclass(frozen=True, slots=True)
class CheckResult:
    """One sentence of the contract, and whether this storage keeps it."""

    name: str
    ok: bool
    message: str


def check_storage(backend: Backend) -> Iterator[CheckResult]:
    """Not written yet."""
    yield CheckResult("write", False, "not written yet")
