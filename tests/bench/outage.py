"""Upstream gone: a held tag is asked for while the upstream is closed, or takes and never answers.

Each server is then started anew, with its upstream still gone, and asked for the whole image.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.bench.asking import Asked, Question
from tests.bench.cores import CLIENTS, SERVERS, pin
from tests.bench.load import digest_of, fresh_body, get
from tests.bench.peers import Peer
from tests.bench.proxies import PROXIES, Image, Run, Upstream, ours, upstream
from tests.bench.scenarios import Sizes
from tests.live import START_SECONDS

FAULTS: dict[str, Callable[[Upstream], None]] = {
    "upstream closed": Upstream.close,
    "upstream silent": Upstream.silence,
}
ASKED: dict[str, Run] = {"distserver, TTL 0": ours(0), **PROXIES}
"""The others ask their upstream each time; ours does so with a TTL of 0, and here in both ways."""


@dataclass(frozen=True)
class Outage:
    """What a server answered, by number of clients, while its upstream was there and then gone.

    restart  in words, what a start without the upstream led to
    """

    server: str
    state: str
    there: dict[int, Asked]
    gone: dict[int, Asked]
    restart: str


def outages(scratch: Path, sizes: Sizes) -> list[Outage]:
    """Ask every server in every state of its upstream, each time with new ones."""
    found = []
    for state, fault in FAULTS.items():
        for server, run in ASKED.items():
            print(f"{state}: {server}", flush=True)
            proxy = _Proxy(run, scratch / state.replace(" ", "-") / server, sizes)
            found.append(Outage(server, state, *proxy.lose_upstream(fault)))
    return found


@dataclass(frozen=True)
class _Proxy:
    """A server with an upstream of its own, both in a directory of theirs."""

    run: Run
    directory: Path
    sizes: Sizes

    def lose_upstream(
        self, fault: Callable[[Upstream], None]
    ) -> tuple[dict[int, Asked], dict[int, Asked], str]:
        """Ask while the upstream is there, after the fault, and after a start without it."""
        pin(CLIENTS)
        with upstream(self.directory / "upstream") as source:
            image = source.publish([fresh_body(1 << 20)[0] for _ in range(2)])
            with self._started(source, START_SECONDS) as peer:
                for path in (image.path, *image.blob_paths):
                    get(peer.port, path)
                there = self._ask(peer, image)
                fault(source)
                gone = self._ask(peer, image)
            return there, gone, self._restart(source, image)

    @contextmanager
    def _started(self, source: Upstream, patience: float) -> Iterator[Peer]:
        pin(SERVERS)
        with self.run(self.directory, source.peer.url, patience) as peer:
            pin(CLIENTS)
            yield peer

    def _ask(self, peer: Peer, image: Image) -> dict[int, Asked]:
        question = self._question(peer, image)
        return {count: question.ask(count, self.sizes.outage) for count in self.sizes.askers}

    def _question(self, peer: Peer, image: Image) -> Question:
        return Question(peer.port, image.path, image.manifest, self.sizes.patience)

    def _restart(self, source: Upstream, image: Image) -> str:
        begin = time.monotonic()
        try:
            with self._started(source, self.sizes.patience) as peer:
                seconds = time.monotonic() - begin
                return f"starts in {seconds:.1f} s, {self._pull(peer, image)}"
        except RuntimeError:
            return "ends at once"
        except TimeoutError:
            return f"is not up in {self.sizes.patience:.0f} s"

    def _pull(self, peer: Peer, image: Image) -> str:
        asked = self._question(peer, image).ask(1, 0)
        if asked.failed:
            return f"no manifest in {asked.seconds:.0f} s"
        try:
            bodies = [get(peer.port, path) for path in image.blob_paths]
        except (OSError, RuntimeError):
            return "a manifest, but no blob"
        good = [digest_of(body) for body in bodies] == [digest for digest, _ in image.blobs]
        return f"a manifest in {asked.seconds:.1f} s, {'blobs' if good else 'wrong blobs'}"
