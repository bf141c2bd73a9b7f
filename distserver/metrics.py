"""What is counted, for Prometheus: by worker processes into files, summed up when somebody asks.

No label carries a repository's name, or a host that anybody may make up. Gauges of what is known
now (upstreams, storage) are not kept here: whoever exposes them reads them at that moment.
"""

from __future__ import annotations

import fcntl
import functools
import logging
import os
import shutil
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from distserver.proxy.upstream.table import label_of

if TYPE_CHECKING:
    from prometheus_client import Counter
    from prometheus_client.metrics_core import Metric

log = logging.getLogger(__name__)

RAM = "/dev/shm"  # noqa: S108  # directories of our own in it, see metrics_directory


@functools.cache
def metrics_directory() -> Path | None:
    """Return the directory in memory for the numbers of this server's processes; None = none.

    Not on a disk: the library writes through a memory map, and a disk that is full would kill it.
    One a server, made by its first process: an old one may finish its transfers beside a new one.
    RUNTIME_DIRECTORY is systemd's.
    """
    parent, prefix = Path(os.environ.get("RUNTIME_DIRECTORY") or RAM), f"distserver-{os.getuid()}."
    try:
        for path in parent.glob(f"{prefix}*"):
            _remove_if_dead(path)
        return _make_locked(parent, prefix)
    except OSError as exc:
        log.warning("each process counts for itself: %s", exc)
        return None


def end() -> None:
    """Leave nothing in memory behind, once the processes of this server have ended."""
    if directory := metrics_directory():
        shutil.rmtree(directory, ignore_errors=True)


def _make_locked(parent: Path, prefix: str) -> Path:
    """Make a directory that is locked before its name lets it be taken for a dead server's.

    The kernel unlocks it with the last process that has the descriptor: all that are forked do.
    """
    new = Path(tempfile.mkdtemp(prefix=f"new-{prefix}", dir=parent))
    fcntl.flock(os.open(new, os.O_RDONLY | os.O_DIRECTORY), fcntl.LOCK_EX | fcntl.LOCK_NB)
    return new.rename(parent / new.name.removeprefix("new-"))


def _remove_if_dead(directory: Path) -> None:
    try:
        descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    except OSError as exc:
        log.debug("%s is gone, or not ours: %s", directory, exc)
        return
    try:
        if os.fstat(descriptor).st_uid == os.getuid():
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(directory, ignore_errors=True)
    except BlockingIOError:
        log.debug("%s is a living server's", directory)
    finally:
        os.close(descriptor)


class Metrics:
    """The counters of a server.

    directory  where processes keep their numbers; None = this process only. The library takes it
               from the environment when it is first imported, so that is done here.
    """

    def __init__(self, directory: Path | None = None) -> None:
        self._together = directory is not None
        if directory:
            os.environ["PROMETHEUS_MULTIPROC_DIR"] = str(directory)
        import prometheus_client

        self._library = prometheus_client
        self._registry = prometheus_client.CollectorRegistry()
        self.requests = self._counter("requests", "Requests answered", "method", "route", "status")
        self.sent_bytes = self._counter("sent_bytes", "Bytes of bodies sent to clients")
        self.errors = self._counter("errors", "Errors told to clients", "code")
        self.cache_requests = self._counter(
            "cache_requests", "What clients asked of upstreams' content", "kind", "result"
        )
        self.upstream_requests = self._by_upstream(
            "upstream_requests", "Questions to upstreams", "result"
        )
        self.upstream_bytes = self._by_upstream(
            "upstream_bytes", "Bytes of bodies that came from upstreams"
        )
        self.saved_bytes = self._by_upstream(
            "saved_bytes", "Bytes of upstreams' blobs that were served from here"
        )
        self.corrupt = self._counter("corrupt", "Stored copies that were found damaged", "part")
        self.evicted_images = self._counter("evicted_images", "Images that the cache let go")
        self.evicted_bytes = self._counter("evicted_bytes", "Bytes that this freed")
        self.stale_answers = self._by_upstream(
            "stale_answers", "Tags served without their upstream's word"
        )

    def expose(self, now: Iterable[Metric]) -> bytes:
        """Return everything in Prometheus' text format.

        now  gauges of this moment
        """
        from prometheus_client.multiprocess import MultiProcessCollector

        shown = self._library.CollectorRegistry()
        if self._together:
            MultiProcessCollector(shown)  # type: ignore[no-untyped-call]
        else:
            shown.register(self._registry)
        shown.register(_Given(list(now)))
        return self._library.generate_latest(shown)

    def _by_upstream(self, name: str, text: str, *labels: str) -> ByUpstream:
        return ByUpstream(self._counter(name, text, "upstream", *labels))

    def _counter(self, name: str, text: str, *labels: str) -> Counter:
        return self._library.Counter(f"distserver_{name}", text, labels, registry=self._registry)


class ByUpstream:
    """A counter whose first label is an upstream; the members of a family are counted together."""

    def __init__(self, counter: Counter) -> None:
        self._counter = counter

    def labels(self, upstream: str, *labels: str) -> Counter:
        """Return the counter of an upstream, given by its name, and of further labels."""
        return self._counter.labels(label_of(upstream), *labels)


def gauge(name: str, text: str, label: str, values: Mapping[str, float]) -> Metric:
    """Return a gauge of this moment, with its value for each value of a label; "" = no label."""
    from prometheus_client.core import GaugeMetricFamily

    made = GaugeMetricFamily(f"distserver_{name}", text, labels=[label] if label else [])
    for key, value in values.items():
        made.add_metric([key] if label else [], float(value))
    return made


class _Given:
    def __init__(self, metrics: list[Metric]) -> None:
        self._metrics = metrics

    def collect(self) -> list[Metric]:
        return self._metrics
