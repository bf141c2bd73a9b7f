"""The way to one upstream: its base URLs in order, what is known of each, and how it is asked."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Collection, Hashable, Sequence
from concurrent.futures import wait
from dataclasses import dataclass
from typing import TypeVar, cast

from distserver.metrics import Metrics
from distserver.oci.digests import Digest
from distserver.proxy.background import Jobs, in_background
from distserver.proxy.memory import Memory
from distserver.proxy.upstream.attempt import WIRE, bounded, discard
from distserver.proxy.upstream.breaker import Breaker
from distserver.proxy.upstream.errors import (
    UpstreamAbsent,
    UpstreamBusy,
    UpstreamError,
    UpstreamLate,
    UpstreamLied,
    UpstreamOffline,
    UpstreamPage,
    UpstreamRefused,
    UpstreamResting,
    UpstreamUnavailable,
)
from distserver.proxy.upstream.limits import Limits
from distserver.proxy.upstream.mode import Mode
from distserver.proxy.upstream.registry import UpstreamRegistry
from distserver.proxy.upstream.table import Upstream

log = logging.getLogger(__name__)

T = TypeVar("T")
Question = Callable[[UpstreamRegistry], T]

ASK_SECONDS = 20.0
"""For one question to all base URLs together."""
TRY_SECONDS = 0.8
"""How long whoever asks first after a pause waits; the question goes on without it."""
OVERRUNS = 3
MAX_JOBS = 64
DISTRUST_SECONDS = 20.0


@dataclass(frozen=True, slots=True)
class Place:
    """One base URL: what speaks to it, and what is known of its state."""

    registry: UpstreamRegistry
    breaker: Breaker


class Uplink:
    """What this process has to ask one upstream."""

    def __init__(
        self,
        upstream: Upstream,
        places: Sequence[Place],
        limits: Limits,
        mode: Mode,
        metrics: Metrics,
    ) -> None:
        self.upstream, self.places, self.limits = upstream, tuple(places), limits
        self._mode, self._metrics = mode, metrics
        self._soon: Jobs[object] = Jobs("ask", MAX_JOBS)
        self._distrusted: Memory[tuple[Digest, str], UpstreamLied] = Memory(1000, DISTRUST_SECONDS)

    @property
    def offline(self) -> bool:
        """Whether nobody may be asked now."""
        return self._mode.offline

    def require_online(self) -> None:
        """Raise UpstreamOffline when nobody may be asked."""
        if self.offline:
            raise UpstreamOffline("the mode is offline")

    def ask(
        self, question: Question[T], seconds: float = ASK_SECONDS, avoid: Collection[str] = ()
    ) -> T:
        """Ask one base URL after the other, each for its share of the time that is left.

            avoid  base URLs that are not asked
        What only some of them lack is unavailable, not absent. Raises: UpstreamError.
        """
        self.require_online()
        WIRE.allow()
        self.require_online()  # again: a switch meanwhile was undone by this, until the next look
        deadline, failure = time.monotonic() + seconds, UpstreamError("")
        asked = [place for place in self.places if place.registry.url not in avoid]
        for number, place in enumerate(asked):
            share = (deadline - time.monotonic()) / (len(asked) - number)
            try:
                return self._ask(place, question, share)
            except UpstreamError as exc:
                if not number or isinstance(failure, UpstreamAbsent):
                    failure = exc
        raise failure

    def ask_soon(self, key: Hashable, question: Question[T], seconds: float) -> T:
        """As ask, but the caller waits so many seconds at most; the question goes on without him.

            key  of the question; who asks the same meanwhile joins
        To cut a question short would say of a slow upstream that it does not answer.
        Raises: UpstreamError; UpstreamLate when the wait is over.
        """
        self.require_online()
        job = self._soon.start(key, lambda: self.ask(question))
        if job is None:
            raise UpstreamBusy("as many questions as may be wait for answers already")
        if not wait([job], seconds).done:
            raise UpstreamLate("the upstream has not answered yet")
        return cast(T, job.result())

    def distrusted(self, digest: Digest) -> dict[str, UpstreamLied]:
        """Base URLs whose answers about a blob proved wrong lately, and how."""
        urls = (place.registry.url for place in self.places)
        return {url: lie for url in urls if (lie := self._distrusted.get((digest, url)))}

    def distrust(self, digest: Digest, url: str, lie: UpstreamLied) -> None:
        """Do not take this blob from that base URL for a while."""
        self._distrusted.set((digest, url), lie)

    def answers(self, seconds: float = 10.0) -> bool:
        """Whether it may be asked, and answered our last question within so many seconds."""
        return not self.offline and any(
            place.breaker.answered_within(seconds) for place in self.places
        )

    def worth_waiting_for(self) -> bool:
        """Whether clients did not wait in vain again and again.

        To the breaker a silent upstream has failed only after the whole deadline of a question.
        """
        return any(place.breaker.state().overruns < OVERRUNS for place in self.places)

    def overran(self) -> None:
        """Note that a client waited in vain."""
        for place in self.places:
            place.breaker.overran()

    def _ask(self, place: Place, question: Question[T], seconds: float) -> T:
        """Ask one base URL if it may be asked now, and note how it went."""
        if place.breaker.closed():
            return self._noted(place, question, seconds)
        if place.breaker.allows():
            future = in_background(
                lambda: self._noted(place, question, ASK_SECONDS), "ask an upstream again"
            )
            if wait([future], TRY_SECONDS).done:
                return future.result()
            future.add_done_callback(discard)
        raise UpstreamResting(f"not asked again yet; last time: {place.breaker.state().error}")

    def _noted(self, place: Place, question: Question[T], seconds: float) -> T:
        try:
            answer = bounded(lambda: _understood(place, question), seconds)
        except UpstreamPage:
            self._count("page")  # says nothing of the upstream's state either
            raise
        except UpstreamUnavailable as exc:
            self.require_online()  # else it was cut on purpose
            place.breaker.failed(exc.reason, exc.retry_after)
            self._count("unavailable")
            raise
        except UpstreamError as exc:
            place.breaker.succeeded()
            self._count(_RESULTS[type(exc)])
            raise
        place.breaker.succeeded()
        self._count("ok")
        return answer

    def _count(self, result: str) -> None:
        self._metrics.upstream_requests.labels(self.upstream.name, result).inc()


def _understood(place: Place, question: Question[T]) -> T:
    """Ask; an answer on which our code, or a library's, stumbles is none, and no way to hurt us."""
    try:
        return question(place.registry)
    except UpstreamError:
        raise
    except Exception as exc:
        log.exception("an answer of %s is not understood", place.registry.url)
        raise UpstreamUnavailable(f"its answer is not understood: {type(exc).__name__}") from exc


_RESULTS: dict[type[UpstreamError], str] = {
    UpstreamAbsent: "absent",
    UpstreamRefused: "refused",
    UpstreamLied: "wrong",
}
