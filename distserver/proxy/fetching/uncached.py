"""Bytes of a blob for one reader, straight from its upstream and kept nowhere."""

from __future__ import annotations

import math
import os
import time
from contextlib import ExitStack

from distserver.proxy.fetching.wanted import Wanted
from distserver.proxy.upstream.errors import UpstreamBusy, UpstreamUnavailable
from distserver.proxy.upstream.limits import Slots
from distserver.proxy.upstream.registry import Body

PAUSE_SECONDS = 1.0
"""Between two tries to open it."""
STALL_SECONDS = 5.0
"""Shorter than a fetch's: a client waits for these bytes."""
SKIP_SECONDS = 5.0
"""For what an upstream without ranges sends before; what takes longer is not tried again."""
MAX_BESIDE = 2
"""Readers of a node that may read one blob beside the fetch that fills its partial."""


class Uncached:
    """One reader's own connection, opened where it stands and again where it broke off."""

    def __init__(self, wanted: Wanted) -> None:
        self._wanted = wanted
        self._held = ExitStack()
        self._body: Body | None = None
        self._at, self._not_before = 0, 0.0

    def read(self, at: int, n: int, beside: bool) -> bytes:
        """Return up to n bytes from at on; b"" where it is too soon to try again.

            beside  a fetch fills the partial as well, so only a few readers may
        Raises: UpstreamError, with the connection closed.
        """
        try:
            if self._body is None or self._at != at:
                if time.monotonic() < self._not_before:
                    return b""
                self._body = self._open(at, beside)
            data = self._body.read(min(n, self._wanted.limits.rate.read_bytes))
            if not data:
                raise UpstreamUnavailable("the upstream ends it short")
        except UpstreamUnavailable:
            self.close()
            raise
        self._wanted.limits.rate.spend(len(data))
        self._at += len(data)
        return data

    def close(self) -> None:
        """End the connection; read opens a new one."""
        self._held.close()
        self._body = None

    def _open(self, at: int, beside: bool) -> Body:
        self.close()
        self._not_before = time.monotonic() + PAUSE_SECONDS
        if beside:
            self._take_turn_beside()
        self._held.enter_context(self._wanted.limits.turn(background=False, seconds=PAUSE_SECONDS))
        body = self._held.enter_context(self._wanted.origin.open(at, STALL_SECONDS))
        self._skip(body, at)
        self._at = at
        return body

    def _take_turn_beside(self) -> None:
        slots = Slots(self._wanted.directory / "beside", MAX_BESIDE)
        try:
            descriptor = slots.take(MAX_BESIDE)
        except OSError as exc:
            raise UpstreamUnavailable(f"the state directory: {exc.strerror}") from exc
        if descriptor is None:
            raise UpstreamBusy("others read it beside the fetch already")
        self._held.callback(os.close, descriptor)

    def _skip(self, body: Body, at: int) -> None:
        """Pass over what an upstream without ranges sends before, SKIP_SECONDS long at most."""
        rate, left = self._wanted.limits.rate, at - body.start
        until = time.monotonic() + SKIP_SECONDS
        while left > 0 and (data := body.read(min(rate.read_bytes, left))):
            left -= len(data)
            rate.spend(len(data))
            if left > 0 and time.monotonic() > until:
                self._not_before = math.inf
                raise UpstreamUnavailable(f"it ignores ranges: {left} bytes too many still come")
        if left > 0:
            raise UpstreamUnavailable("the upstream ignores ranges and breaks off early")
