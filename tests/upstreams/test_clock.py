"""A clock that is a year off: of the node, while its upstream's is right."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.figures import record
from tests.live import Server, running, start_server
from tests.upstreams.asking import Answer, Asking
from tests.upstreams.certificates import certificate
from tests.upstreams.clock import YEAR_SECONDS, Clock, move_times
from tests.upstreams.images import make, push
from tests.upstreams.proxy import FaultProxy, fault_proxy
from tests.upstreams.registries import Registry, registry
from tests.upstreams.report import patiently
from tests.upstreams.single import table
from tests.upstreams.site import Place

pytestmark = pytest.mark.fault
LAYER_BYTES = 100_000
YEARS = {"a year ahead": YEAR_SECONDS, "a year behind": -YEAR_SECONDS}
HEALED_SECONDS = 40.0
QUICK_SECONDS = 5.5
FIRST_SECONDS = 3.0


class Node:
    """A node's storage and state, and two upstreams: plain and with TLS.

    Its server can be started again and again, each time with another clock.
    """

    def __init__(self, directory: Path, upstream: Registry) -> None:
        self.directory, self.upstream = directory, upstream
        self.trusted, self.clock = certificate(directory, "upstream"), Clock(directory)

    def configure(self, plain: FaultProxy, encrypted: FaultProxy) -> None:
        url, trust = f'url = ["{encrypted.url}"]', f'ca_file = "{self.trusted.file}"'
        config = f'{table("plain.site", plain.url)}[upstream."tls.site"]\n{url}\n{trust}\n'
        (self.directory / "config.toml").write_text(config)

    @contextmanager
    def running(self, offset: int = 0) -> Iterator[Server]:
        """Run the server, its clock wrong by so many seconds."""
        arguments = ("--workers", "1", "--config", str(self.directory / "config.toml"))
        env = {"DISTSERVER_TAG_TTL_SECONDS": "600", **self.clock.environment(offset)}
        with running(start_server(self.directory / "ours", *arguments, env=env)) as ours:
            yield ours
        move_times(self.directory / "ours" / "state", offset)

    def place(self, host: str, repository: str) -> Place:
        """Push an image to the upstream, which is the same behind both hosts."""
        image = make(repository, LAYER_BYTES)
        push(image, self.upstream.url, repository)
        return Place(host, repository, image)


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Node]:
    with registry(tmp_path / "upstream") as upstream:
        made = Node(tmp_path, upstream)
        encrypted = fault_proxy(upstream.address, tls=made.trusted.context())
        with fault_proxy(upstream.address) as plain, encrypted as tls:
            made.configure(plain, tls)
            yield made


@pytest.mark.parametrize("offset", YEARS.values(), ids=YEARS)
def test_plain_upstreams_do_not_care(node: Node, offset: int) -> None:
    """Pulled with a wrong clock, and again with the right one: a tag is not fresh for a year."""
    before, after = (node.place("plain.site", name) for name in ("before", "after"))
    with node.running() as ours:
        assert Asking(ours, before).pull() == ""
    with node.running(offset) as ours:
        assert Asking(ours, before).pull() == ""
        assert Asking(ours, after).pull() == ""
    moved = make("moved", LAYER_BYTES)
    push(moved, node.upstream.url, after.repository)
    with node.running() as ours:
        answer = Asking(ours, after).tag()
    # The tag was validated in another time: whoever trusts that time would serve it as fresh.
    assert answer.headers["Docker-Content-Digest"] == moved.digest
    record(
        "clock a year off", f"plain upstream, {offset:+,} s", "pulls, fresh for no year", "pulls"
    )


@pytest.mark.parametrize("offset", YEARS.values(), ids=YEARS)
def test_certificates_of_another_time_are_clean_errors(node: Node, offset: int) -> None:
    held, cold = (node.place("tls.site", name) for name in ("held", "cold"))
    with node.running() as ours:
        assert Asking(ours, held).pull() == ""
    with node.running(offset) as ours:
        first = Asking(ours, held).tag()
        assert Asking(ours, held).pull() == ""
        missing = Asking(ours, cold).tag("GET")
    with node.running() as ours:
        assert patiently(Asking(ours, cold).pull, HEALED_SECONDS) == ""
    _check(first, missing)
    figure = f"held in {first.seconds:.2f} s, not held 503 in {missing.seconds:.2f} s"
    record("clock a year off", f"upstream with TLS, {offset:+,} s", "held pulls, else 503", figure)


def _check(held: Answer, missing: Answer) -> None:
    assert held.status == 200
    assert held.seconds <= FIRST_SECONDS
    assert held.headers["Warning"].startswith('299 - "')
    assert (missing.status, missing.code) == (503, "UNAVAILABLE")
    assert missing.seconds <= QUICK_SECONDS
