"""What a server says of itself: `/` to people, `/metrics` to Prometheus."""

from __future__ import annotations

import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from flask import Response, current_app, render_template

from distserver import __version__
from distserver.api.base import blueprint, registry
from distserver.api.health import Probe
from distserver.evicting.standing import REASONS, last_look
from distserver.metrics import gauge
from distserver.proxy.status import Status, ago
from distserver.proxy.upstream.mode import MODES
from distserver.proxy.upstream.table import label_of
from distserver.registry.scrub import Progress, read_progress

if TYPE_CHECKING:
    from prometheus_client.metrics_core import Metric

SHOWN_REPOSITORIES, SHOWN_TAGS, SHOWN_PULLS = 200, 20, 20
POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; frame-ancestors 'none'"


@blueprint.get("/")
def overview() -> Response:
    """Show a page for people: mode, upstreams, what is held and on its way, recent pulls."""
    status: Status = current_app.extensions["distserver.status"]
    probe = _probe()
    names = [] if probe.problem else registry().catalog.names()
    page = render_template(
        "overview.html",
        version=__version__,
        mode=status.mode,
        probe=probe,
        standings=status.standings(),
        underway=status.underway(),
        begun=status.begun(),
        cache=last_look(status.state),
        repositories=len(names),
        held=list(_held(names[:SHOWN_REPOSITORIES])),
        scrub=_scrub(),
        pulls=current_app.extensions["distserver.recent"].last(SHOWN_PULLS),
        ago=ago,
        now=time.time(),
    )
    headers = {"Content-Security-Policy": POLICY, "Cache-Control": "no-store"}
    return Response(page, headers=headers, content_type="text/html; charset=utf-8")


@blueprint.get("/metrics")
def metrics() -> Response:
    """Tell what was counted and what is known now, in Prometheus' text format."""
    body = current_app.extensions["distserver.metrics"].expose(_now())
    return Response(body, content_type="text/plain; version=0.0.4; charset=utf-8")


def _held(names: list[str]) -> Iterator[tuple[str, list[str], int]]:
    """Yield repositories with some of their tags, and how many more they have."""
    for name in names:
        tags = sorted(registry().tags.all(name))
        yield name, list(islice(tags, SHOWN_TAGS)), max(0, len(tags) - SHOWN_TAGS)


def _probe() -> Probe:
    probe: Probe = current_app.extensions["distserver.probe"]
    probe.refresh()
    return probe


def _now() -> Iterator[Metric]:
    """Yield the gauges of this moment."""
    status: Status = current_app.extensions["distserver.status"]
    part, probe = current_app.extensions["distserver.config"].storage[0], _probe()
    up, free = {part: not probe.problem}, {part: probe.free_bytes or 0}
    for standing in probe.standings():
        up[standing.part] = standing.up and up.get(standing.part, True)
    yield gauge("storage_up", "Whether a part of the storage is in use", "part", up)
    if probe.free_bytes is not None:
        yield gauge("storage_free_bytes", "Free bytes of the storage", "part", free)
    yield from _of_scrub(_scrub())
    modes = {name: name == status.mode.now() for name in MODES}
    yield gauge("mode", "The mode in force is 1", "mode", modes)
    yield from _of_upstreams(status)
    underway = status.underway()
    here = sum(blob.here for blob in underway)
    yield gauge("partial_blobs", "Blobs on their way", "", {"": len(underway)})
    yield gauge("partial_bytes", "Bytes of blobs on their way that are here", "", {"": here})
    yield gauge("incomplete_images", "Images to be completed", "", {"": status.begun()})
    yield from _of_cache(status)


def _of_cache(status: Status) -> Iterator[Metric]:
    if cache := last_look(status.state):
        text = "Bytes of content pulled from upstreams in the storage"
        yield gauge("cache_bytes", text, "", {"": cache.bytes})
        text = "Why images that should go stay is 1"
        reasons = {reason: reason == cache.reason for reason in REASONS}
        yield gauge("eviction_hindered", text, "reason", reasons)


def _scrub() -> Progress:
    return read_progress(Path(current_app.extensions["distserver.config"].state))


def _of_scrub(scrub: Progress) -> Iterator[Metric]:
    text = "Entries that somebody needs, and that are damaged or missing"
    yield gauge("damaged_entries", text, "", {"": scrub.damaged})
    if scrub.ended:
        text = "When everything had been read again, seconds since 1970"
        yield gauge("scrub_ended_timestamp_seconds", text, "", {"": scrub.ended})
        text = "How long the last scrub of everything took"
        yield gauge("scrub_last_seconds", text, "", {"": scrub.last_seconds})
        yield gauge("scrub_last_bytes", "Bytes that it read", "", {"": scrub.last_bytes})


def _of_upstreams(status: Status) -> Iterator[Metric]:
    up: dict[str, bool] = {}
    contact: dict[str, float] = {}
    for standing in status.standings():
        name, age = label_of(standing.upstream), standing.contact_age
        if standing.up is not None:
            up[name] = up.get(name, False) or standing.up
        if age is not None:
            contact[name] = min(contact.get(name, age), age)
    yield gauge("upstream_up", "Whether an upstream answers (breaker closed)", "upstream", up)
    text = "Seconds since an upstream's last answer"
    yield gauge("upstream_last_contact_seconds", text, "upstream", contact)
