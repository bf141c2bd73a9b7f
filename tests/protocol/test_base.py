"""What is common to every endpoint (G)."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import requests

from distserver.api.manifests import _headers
from distserver.oci.errors import TooManyRequests
from tests.live import Server
from tests.protocol.images import Repository, code, image


def test_base_answers_with_the_api_version(server: Server) -> None:
    """Clients ping /v2/ before anything else."""
    answer = server.request("GET", "/v2/")
    assert answer.status_code == 200
    assert answer.headers["Docker-Distribution-Api-Version"] == "registry/2.0"


@pytest.mark.parametrize("path", ["/v2/", "/v2"], ids=["G-01 G-02 slash", "G-16 no slash"])
def test_base_is_200_without_users(server: Server, path: str) -> None:
    """Clients take anything but 200 and 401 for "not a registry", also a redirect."""
    answer = server.request("GET", path)
    assert (answer.status_code, answer.json()) == (200, {})


@pytest.mark.parametrize("path", ["/v2/", "/v2/a/tags/list", "/v2/UP/tags/list", "/v2/none"])
def test_G_03_api_version_on_every_answer(server: Server, path: str) -> None:
    """Errors carry it too."""
    headers = server.request("GET", path).headers
    assert headers["Docker-Distribution-API-Version"] == "registry/2.0"


def test_G_04_G_05_error_bodies_have_the_fields_of_the_spec(repo: Repository) -> None:
    """Docker ignores a body that is not application/json."""
    answer = repo.get("manifests/none")
    assert answer.headers["Content-Type"] == "application/json"
    (error,) = answer.json()["errors"]
    assert set(error) <= {"code", "message", "detail"}
    assert error["code"].replace("_", "").isupper()


def test_G_07_a_429_carries_retry_after() -> None:
    """No request provokes it yet; the one class that makes it has the header."""
    assert TooManyRequests().headers["Retry-After"].isdigit()


def test_G_08_warning_of_a_stale_tag_has_the_form_of_the_spec(repo: Repository) -> None:
    """And an answer that is not stale has none."""
    stale = SimpleNamespace(digest="d", media_type="m", data=b"", warning='not "here" yet')
    text = _headers(stale)["Warning"]  # type: ignore[arg-type]
    assert text.startswith('299 - "')
    assert text.endswith('"')
    assert len(text) < 4096
    repo.push("v1")
    assert "Warning" not in repo.get("manifests/v1").headers


BAD_NAMES = ["Upper", "a_-b", "a//b", "-a", "a-", "a%0A", "a%00", "_a", "a..b", "a/../b", "é"]


@pytest.mark.parametrize("name", BAD_NAMES)
def test_G_09_bad_names_are_refused(server: Server, name: str) -> None:
    """The grammar in full, the end of the line included."""
    with requests.Session() as session:
        request = requests.Request("GET", server.url).prepare()
        request.url = f"{server.url}/v2/{name}/tags/list"
        answer = session.send(request, timeout=10, allow_redirects=False)
    assert answer.status_code == 400
    assert code(answer) == "NAME_INVALID"


def test_G_10_host_and_name_fit_into_255_characters_on_push(server: Server) -> None:
    """A name that is fine for itself may be too long with the host."""
    fitting = 255 - 1 - len(server.host)
    for length, status in ((fitting, 202), (fitting + 1, 400)):
        assert Repository(server, "a" * length).ask("POST", "blobs/uploads/").status_code == status


def test_G_11_tags_of_128_characters_keep_their_case(repo: Repository) -> None:
    """One more is refused."""
    tag = "Ab" * 64
    repo.push(tag)
    assert repo.get("tags/list").json()["tags"] == [tag]
    assert repo.put(tag + "x", image()).status_code == 400
    assert repo.get(f"manifests/{tag.lower()}").status_code == 404


BAD_DIGESTS = [
    *("sha256:abc", "sha256:" + "A" * 64, "md5:" + "a" * 32, "sha256:" + "g" * 64),
    *("blake3:" + "a" * 64, "sha512:" + "a" * 64, "sha256:" + "a" * 64 + "%0A"),
]


@pytest.mark.parametrize("digest", BAD_DIGESTS)
def test_G_12_bad_digests_are_refused(repo: Repository, digest: str) -> None:
    """On push as on pull, never a 500."""
    assert repo.get(f"blobs/{digest}").status_code == 400
    path = f"{repo.begin()}?digest={digest}"
    answer = repo.ask("PUT", path, data=b"x")
    assert (answer.status_code, code(answer)) == (400, "DIGEST_INVALID")


@pytest.mark.parametrize("method", ["POST", "PATCH", "BREW"])
def test_G_13_unsupported_methods_are_405_with_allow(repo: Repository, method: str) -> None:
    """An unknown method too: never 500."""
    answer = repo.ask(method, "manifests/v1")
    assert answer.status_code == 405
    assert "GET" in answer.headers["Allow"]
    assert code(answer) == "UNSUPPORTED"


def test_G_13_head_is_get_without_a_body(repo: Repository) -> None:
    """HTTP semantics hold where the spec is silent."""
    repo.push("v1")
    head, get = repo.ask("HEAD", "tags/list"), repo.get("tags/list")
    assert (head.status_code, head.content) == (200, b"")
    assert head.headers["Content-Length"] == get.headers["Content-Length"]


@pytest.mark.parametrize("name", ["_catalog", "_oci", "_x/y"])
def test_G_15_underscored_first_components_are_reserved(server: Server, name: str) -> None:
    """They can never be pushed to."""
    answer = server.request("POST", f"/v2/{name}/blobs/uploads/")
    assert answer.status_code in (400, 405)


ODD = [
    "/v2//",
    "//v2/",
    "/v2/a//tags/list",
    "/v2/a%2Ftags/list",
    "/v2/%2e%2e/x",
    "/v2/a/tags/list/",
]


@pytest.mark.parametrize("path", [*ODD, "/v2/a/blobs/uploads//", "/V2/", "/v1/"])
def test_G_16_odd_paths_are_never_redirected(server: Server, path: str) -> None:
    """containerd fails hard on a redirect that it cannot use."""
    with requests.Session() as session:
        request = requests.Request("GET", server.url).prepare()
        request.url = server.url + path
        answer = session.send(request, timeout=10, allow_redirects=False)
    assert answer.status_code == 200 or 400 <= answer.status_code < 500
    assert "Location" not in answer.headers
    assert answer.json() == {} or code(answer)


def test_G_17_locations_are_path_absolute(repo: Repository) -> None:
    """containerd reads anything else as a host."""
    blob = repo.ask("POST", "blobs/uploads/")
    repo.push("v1")
    manifest = repo.put("v2", image())
    for answer in (blob, manifest):
        assert answer.headers["Location"].startswith(f"/v2/{repo.name}/")


def test_G_18_content_is_never_encoded(repo: Repository) -> None:
    """containerd asks for it, digests would not fit."""
    digest = repo.push_blob(b"a" * 10000)
    answer = repo.get(f"blobs/{digest}", headers={"Accept-Encoding": "gzip, zstd, deflate"})
    assert "Content-Encoding" not in answer.headers
    assert answer.headers["Content-Length"] == "10000"
