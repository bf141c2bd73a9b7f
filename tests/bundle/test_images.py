"""Names of images as people write them, and lock files."""

from __future__ import annotations

import pytest

from distserver.bundle.images import Image, parse_image
from distserver.bundle.lock import Locked, render, split_line
from distserver.oci.digests import Digest
from distserver.oci.errors import NameInvalid, RegistryError
from distserver.oci.names import Tag
from distserver.proxy.upstream.table import Upstream, Upstreams

D = "sha256:" + "a" * 64
SITE = Upstream("site:5000", ("http://site:5000",))
UPSTREAMS = Upstreams({SITE.name: SITE})
OWN = frozenset({"localhost:30500", "distserver.internal"})


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("nginx", "docker.io/library/nginx:latest"),
        ("nginx:1.27", "docker.io/library/nginx:1.27"),
        ("grafana/loki", "docker.io/grafana/loki:latest"),
        ("docker.io/nginx:1", "docker.io/library/nginx:1"),
        ("index.docker.io/library/nginx:1", "docker.io/library/nginx:1"),
        ("registry.k8s.io/pause:3.9", "registry.k8s.io/pause:3.9"),
        (f"quay.io/a/b@{D}", f"quay.io/a/b@{D}"),
        (f"quay.io/a/b:v1@{D}", f"quay.io/a/b:v1@{D}"),
        ("site:5000/team/app:2", "site_5000/team/app:2"),
        ("localhost:30500/team/app:2", "team/app:2"),
        ("distserver.internal/distserver:1", "distserver:1"),
    ],
)
def test_a_name_as_docker_reads_it(text: str, shown: str) -> None:
    assert str(parse_image(text, UPSTREAMS, OWN)) == shown


@pytest.mark.parametrize("text", ["", ":1", "a:b:c", "Nginx", "quay.io/a@sha256:x", "a@b", "a b"])
def test_a_bad_name_is_refused(text: str) -> None:
    with pytest.raises(RegistryError):
        parse_image(text, UPSTREAMS, OWN)


def test_a_configured_upstream_needs_no_dot_in_its_name() -> None:
    for text in ("site:5000/a", "site_5000/a"):
        assert str(parse_image(text, UPSTREAMS)) == "site_5000/a:latest"
    hub = Upstreams({"hub": Upstream("hub", ("http://hub",))})
    assert str(parse_image("hub/a:1", hub)) == "hub/a:1"


def test_a_host_that_is_no_upstream_is_refused_by_name() -> None:
    with pytest.raises(NameInvalid, match="no upstream"):
        parse_image("unknown.example/a:1", UPSTREAMS)


def test_a_line_of_a_lock_file_is_read_as_it_was_written() -> None:
    image = Image("quay.io/a/b", Tag("v1"), Digest.parse(D))
    for platforms in ((), ("linux/amd64", "linux/arm/v7")):
        _, line = render([Locked(image, platforms, 1234)])
        assert split_line(line) == (str(image), platforms, 1234)


@pytest.mark.parametrize("line", ["nginx:1.27", "# note", "", f"a@{D}", f"a@{D} 12x", "a:1 all 12"])
def test_other_lines_are_no_lines_of_a_lock_file(line: str) -> None:
    assert split_line(line) is None
