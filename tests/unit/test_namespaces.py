"""Names of upstreams: four spellings, one repository; a closed list of hosts."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from distserver.oci.errors import NameUnknown
from distserver.proxy.namespaces import Namespaces, name_here
from distserver.proxy.upstream.table import Upstream, Upstreams

PRIVATE = Upstream("reg.site:5000", ("https://reg.site:5000",), allow=("team/*",))
ALL = Upstreams({PRIVATE.name: PRIVATE})
OWN = frozenset({"localhost:30500"})
PART = st.from_regex(r"[a-z0-9]{1,8}", fullmatch=True)


@given(PART)
def test_PT_14_spellings_of_one_image(x: str) -> None:
    spellings = [(x, "docker.io"), (f"library/{x}", "index.docker.io"), (f"docker.io/{x}", None)]
    spellings += [(f"library/{x}", "Registry-1.docker.io"), (f"docker.io/library/{x}", None)]
    spellings += [(f"docker.io/{x}", "localhost:30500")]
    assert {name_here(ALL, OWN, *spelling) for spelling in spellings} == {f"docker.io/library/{x}"}


@pytest.mark.parametrize(
    ("name", "ns", "wanted"),
    [
        ("a/b", "ghcr.io", "ghcr.io/a/b"),
        ("pause", "registry.k8s.io", "registry.k8s.io/pause"),
        ("team/x", "reg.site:5000", "reg.site_5000/team/x"),
        ("reg.site_5000/team/x", None, "reg.site_5000/team/x"),
        ("p/r/x", "europe-docker.pkg.dev", "europe-docker.pkg.dev/p/r/x"),
        ("eu.gcr.io/p/x", None, "eu.gcr.io/p/x"),
        ("site/app", None, "site/app"),
        ("library/nginx", None, "docker.io/library/nginx"),
        ("library/nginx", "localhost:30500", "docker.io/library/nginx"),
        ("library", None, "library"),
        ("docker.io/library/nginx", "docker.io", "docker.io/library/nginx"),
        ("docker.io", None, "docker.io"),
        ("site/app", "localhost:30500", "site/app"),
        ("evil.example/x", None, "evil.example/x"),
    ],
)
def test_names_here(name: str, ns: str | None, wanted: str) -> None:
    assert name_here(ALL, OWN, name, ns) == wanted


BAD = ["evil.example", "evilpkg.dev", "pkg.dev", "a.b.pkg.dev", "-x.pkg.dev", "docker.io.evil"]
BAD += ["docker.io/../x", "169.254.169.254", "localhost", "reg.site", "reg.site:5001", ".gcr.io"]


@pytest.mark.parametrize("ns", BAD)
def test_an_unknown_namespace_is_never_dialled(ns: str) -> None:
    with pytest.raises(NameUnknown):
        name_here(ALL, OWN, "a/b", ns)


def test_a_name_here_leads_back_to_its_upstream() -> None:
    assert ALL.of_repository("reg.site_5000/team/x") == (PRIVATE, "team/x")
    found = ALL.of_repository("docker.io/library/x")
    assert found
    assert (found[0].urls, found[1]) == (("https://registry-1.docker.io",), "library/x")
    assert ALL.of_repository("site/app") is None
    assert ALL.of_repository("docker.io") is None


def test_allow_and_deny() -> None:
    assert PRIVATE.allows("team/a/b")
    assert not PRIVATE.allows("other/a")
    both = Upstream("x", (), allow=("*",), deny=("secret/*",))
    assert both.allows("a")
    assert not both.allows("secret/a")


def _ask(
    path: str, query: str, upstreams: Upstreams = ALL, **more: str
) -> tuple[str, dict[str, str], dict[str, Any]]:
    seen: dict[str, Any] = {}
    answer: list[Any] = []

    def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        seen.update(environ)
        start_response("200 OK", [])
        return []

    environ = {"PATH_INFO": path, "QUERY_STRING": query, "HTTP_HOST": "here:5000", **more}
    wrapped = Namespaces(app, upstreams, ["Localhost:30500"])
    list(wrapped(environ, lambda status, headers, *_: answer.extend([status, dict(headers)])))
    return answer[0], answer[1], seen


def test_the_middleware_rewrites_the_path_and_names_the_namespace() -> None:
    status, headers, seen = _ask("/v2/nginx/manifests/latest", "ns=docker.io&n=1")
    assert (status, headers["OCI-Namespace"]) == ("200 OK", "docker.io")
    assert seen["PATH_INFO"] == "/v2/docker.io/library/nginx/manifests/latest"
    assert seen["QUERY_STRING"] == "n=1"


def test_a_mount_names_its_source_as_the_client_knows_it() -> None:
    query = "mount=sha256:x&from=nginx&ns=docker.io"
    _, _, seen = _ask("/v2/site/blobs/uploads/", query)
    assert seen["PATH_INFO"] == "/v2/docker.io/library/site/blobs/uploads/"
    assert seen["QUERY_STRING"] == "mount=sha256%3Ax&from=docker.io%2Flibrary%2Fnginx"


def test_a_host_that_is_set_aside_for_an_upstream() -> None:
    """docker's registry-mirrors send neither ns nor a host in the path."""
    hub = Upstream("docker.io", ("https://x",), hosts=("hub.site:5000",))
    upstreams = Upstreams({hub.name: hub})
    for host, path, ns, wanted in (
        ("Hub.site:5000", "team/app", "", "docker.io/team/app"),
        ("hub.site:5000", "docker.io/team/app", "", "docker.io/team/app"),
        ("hub.site:5000", "team/app", "ns=quay.io", "quay.io/team/app"),
        ("other.site", "team/app", "", "team/app"),
    ):
        _, _, seen = _ask(f"/v2/{path}/tags/list", ns, upstreams, HTTP_HOST=host)
        assert seen["PATH_INFO"] == f"/v2/{wanted}/tags/list"


@pytest.mark.parametrize("ns", ["here:5000", "HERE:5000", "localhost:30500", ""])
def test_a_namespace_that_is_us_is_local(ns: str) -> None:
    _, _, seen = _ask("/v2/site/app/tags/list", f"ns={ns}")
    assert (seen["PATH_INFO"], seen["QUERY_STRING"]) == ("/v2/site/app/tags/list", "")


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_an_unknown_namespace_is_404_at_once(method: str) -> None:
    status, _, seen = _ask("/v2/a/blobs/sha256:x", "ns=evil.example", REQUEST_METHOD=method)
    assert (status, seen) == ("404 Not Found", {})


@pytest.mark.parametrize("path", ["/v2/", "/healthz", "/v2/_catalog", "/other"])
def test_other_paths_pass_untouched(path: str) -> None:
    _, headers, seen = _ask(path, "ns=evil.example")
    assert (seen["PATH_INFO"], seen["QUERY_STRING"]) == (path, "ns=evil.example")
    assert "OCI-Namespace" not in headers
