"""What this node knows of its upstreams and of what is on its way: for people, and for metrics.

Read from the small files in the state directory, so that commands can tell it beside a server.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from distserver.config import Config
from distserver.proxy.begun import Begun
from distserver.proxy.fetching.partial import Partial
from distserver.proxy.fetching.room import Room
from distserver.proxy.upstream.breaker import DIRECTORY, THRESHOLD, State, boot_id
from distserver.proxy.upstream.connect import breaker_of, upstreams_of
from distserver.proxy.upstream.mode import Mode
from distserver.proxy.upstream.table import Upstream


@dataclass(frozen=True, slots=True)
class Standing:
    """How one base URL of an upstream stands.

    up             whether it answers, as far as is known; None = it was never asked
    words          the same for people
    contact_age    seconds since its last answer; None = it never answered
    error          the last failure, "" = none
    error_age      seconds since then
    """

    upstream: str
    url: str
    up: bool | None
    words: str
    contact_age: float | None
    error: str
    error_age: float | None


@dataclass(frozen=True, slots=True)
class Underway:
    """A blob on its way; bytes that are here, and of the whole where that is known."""

    upstream: str
    digest: str
    here: int
    size: int | None


class Status:
    """The state of a node's proxy, as of now."""

    def __init__(self, config: Config) -> None:
        self.state = Path(config.state)
        self._upstreams = upstreams_of(config)
        self.mode = Mode(self.state, config.mode)
        self._begun = Begun(self.state / "begun")
        self._room = Room(self.state / "partial", config.partial_bytes, config.reserve_bytes)

    def standings(self, everything: bool = False) -> list[Standing]:
        """Return how the upstreams stand: those configured or ever asked, or all known ones.

        Of families those that are configured or answered once.
        """
        known = self._upstreams.known() if everything else self._upstreams.configured.values()
        found = {upstream.name: upstream for upstream in (*known, *self._asked())}
        return [
            _standing(upstream, url, breaker_of(self.state, upstream, url).state())
            for _, upstream in sorted(found.items())
            for url in upstream.urls
        ]

    def underway(self) -> list[Underway]:
        """Return the blobs that are on their way. Raises: OSError."""
        return [_underway(partial) for partial in self._room.all()]

    def begun(self) -> int:
        """Return how many images wait for their completion. Raises: OSError."""
        return len(self._begun.paths())

    def _asked(self) -> Iterator[Upstream]:
        for path in (self.state / DIRECTORY).glob("*/"):
            upstream = self._upstreams.find(path.name)
            if upstream and (not upstream.family or self._met(upstream)):
                yield upstream

    def _met(self, upstream: Upstream) -> bool:
        breakers = (breaker_of(self.state, upstream, url) for url in upstream.urls)
        return any(breaker.state().contact for breaker in breakers)


def _standing(upstream: Upstream, url: str, state: State) -> Standing:
    now = time.time()
    asked = bool(state.contact or state.failures)
    is_open = state.failures >= THRESHOLD and state.boot == boot_id()
    contact = max(0.0, now - state.contact) if state.contact else None
    errored = max(0.0, now - state.errored) if state.errored else None
    words = _words(state, asked, is_open)
    up = not is_open if asked else None
    return Standing(upstream.name, url, up, words, contact, state.error, errored)


def _words(state: State, asked: bool, is_open: bool) -> str:
    if not asked:
        return "never asked"
    if is_open:
        left = max(0.0, state.until - time.monotonic())
        return "does not answer; " + (f"asked again in {left:.0f} s" if left else "asked again now")
    times = "the last time" if state.failures == 1 else f"{state.failures} times in a row"
    return f"failed {times}" if state.failures else "answers"


def _underway(partial: Partial) -> Underway:
    digest = partial.directory.name.replace("-", ":", 1)
    upstream = partial.directory.parent.name
    return Underway(upstream, digest, partial.available(), partial.size())


def ago(seconds: float | None) -> str:
    """Say how long ago something was, in words."""
    if seconds is None:
        return "never"
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= length:
            return f"{seconds / length:.0f} {unit} ago"
    return f"{seconds:.0f} s ago"
