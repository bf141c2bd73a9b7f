"""A finding of the doctor."""

from __future__ import annotations

from dataclasses import dataclass

OK, WARN, STOP = "ok", "warn", "stop"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at.

    level  OK, WARN (look at it before the ship sails), STOP (a cold start fails)
    what   in a sentence
    why    why it matters; "" for what is well
    mend   the command or the step that mends it; "" for what is well
    """

    level: str
    what: str
    why: str = ""
    mend: str = ""

    def __str__(self) -> str:
        lines = [f"{self.level:4}  {self.what}"]
        lines += [f"      why:  {self.why}"] if self.why else []
        lines += [f"      mend: {self.mend}"] if self.mend else []
        return "\n".join(lines)


def ok(what: str) -> Finding:
    """Say that something is well."""
    return Finding(OK, what)


def warn(what: str, why: str, mend: str) -> Finding:
    """Say that something wants a look."""
    return Finding(WARN, what, why, mend)


def stop(what: str, why: str, mend: str) -> Finding:
    """Say that something stops a cold start."""
    return Finding(STOP, what, why, mend)
