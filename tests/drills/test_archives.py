"""Archives that real tools wrote are loaded beside a server, which then serves them by tag."""

from __future__ import annotations

import gzip
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest
import zstandard

from tests.clients.containerd import running_containerd
from tests.clients.engine import engine
from tests.clients.podman import own_podman
from tests.clients.run import Client
from tests.components.images import OCI, Image, build
from tests.drills.commands import Ours
from tests.figures import record
from tests.live import Server, running, start_server

pytestmark = pytest.mark.client
NAME = "docker.io/library/app:v1"
WRITERS = (
    *("skopeo docker-archive", "skopeo oci-archive", "podman save", "podman save oci-archive"),
    *("podman save of two", "docker save", "ctr images export", "ctr images export of all"),
    *("crane pull", "crane pull of a layout", "oras copy of a layout"),
)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with running(
        start_server(tmp_path_factory.mktemp("live"), "--workers", "1", "--offline")
    ) as server:
        yield server


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Image:
    return build(tmp_path_factory.mktemp("image") / "layout", OCI)


@pytest.fixture(scope="module")
def written(
    tmp_path_factory: pytest.TempPathFactory, server: Server, image: Image
) -> Mapping[str, Path]:
    """An archive of each writer."""
    root = tmp_path_factory.mktemp("archives")
    Ours(server.directory).run("load", image.directory, "--as", NAME.rpartition(":")[0])
    here = f"{server.host}/{NAME}"
    paths = {writer: root / writer.replace(" ", "-") for writer in WRITERS}
    _by_skopeo(paths, image, root)
    _by_podman(paths, here, root)
    _by_others(paths, here, root)
    with engine(root / "dockerd", {}) as docker:
        docker("pull", "--quiet", here)
        docker("tag", here, NAME)
        docker("save", "--output", str(paths["docker save"]), NAME)
    hosts = {server.host: f'server = "{server.url}"\n'}
    with running_containerd(root / "c", hosts) as node:
        pull = ("images", "pull", "--plain-http", "--snapshotter", "native")
        node.ctr(*pull, here)
        node.ctr("images", "tag", here, NAME)
        node.ctr("images", "export", str(paths["ctr images export"]), NAME)
        node.ctr(*pull, "--all-platforms", here)
        every = paths["ctr images export of all"]
        node.ctr("images", "export", "--all-platforms", str(every), NAME)
    return paths


def _by_skopeo(paths: Mapping[str, Path], image: Image, root: Path) -> None:
    skopeo = Client("skopeo", root / "skopeo", "--override-arch", "amd64")
    for kind in ("docker-archive", "oci-archive"):
        skopeo("copy", f"oci:{image.directory}:v1", f"{kind}:{paths[f'skopeo {kind}']}:{NAME}")


def _by_podman(paths: Mapping[str, Path], here: str, root: Path) -> None:
    with own_podman(root) as podman:
        podman("pull", "--quiet", "--tls-verify=false", here)
        podman("tag", here, NAME, "localhost/other:v2")
        podman("save", "--quiet", "--output", str(paths["podman save"]), NAME)
        oci = ("--format", "oci-archive", "--output", str(paths["podman save oci-archive"]))
        podman("save", "--quiet", *oci, NAME)
        two = ("--multi-image-archive", "--output", str(paths["podman save of two"]))
        podman("save", "--quiet", *two, NAME, "localhost/other:v2")


def _by_others(paths: Mapping[str, Path], here: str, root: Path) -> None:
    crane = Client("crane", root / "crane", "--insecure")
    crane("pull", "--platform", "linux/amd64", here, str(paths["crane pull"]))
    crane("pull", "--format", "oci", here, str(paths["crane pull of a layout"]))
    oras = Client("oras", root / "oras")
    layout = f"{paths['oras copy of a layout']}:v1"
    oras("copy", "-r", "--from-plain-http", "--to-oci-layout", here, layout)


@pytest.mark.parametrize("writer", WRITERS)
def test_it_is_loaded_and_pulls_by_tag(
    server: Server, image: Image, written: Mapping[str, Path], tmp_path: Path, writer: str
) -> None:
    # crane names the registry that it pulled from; neither says a name in a layout.
    nameless = writer.startswith(("crane", "oras"))
    to = f"{writer.replace(' ', '-')}/" + ("app:v1" if nameless else "")
    digests = _load_and_pull(server, written[writer], to, tmp_path)
    if "layout" in writer or writer.startswith("ctr"):
        assert image.digest in digests
    record(
        "Archives",
        f"{writer}: loaded, then pulled by crane by tag",
        "every image pulls whole; a second load writes nothing",
        f"{len(digests)} of {len(digests)} pulled, nothing written twice",
    )


@pytest.mark.parametrize("pack", [gzip.compress, zstandard.compress])
def test_packed(
    server: Server, written: Mapping[str, Path], tmp_path: Path, pack: Callable[[bytes], bytes]
) -> None:
    packed = tmp_path / "packed"
    packed.write_bytes(pack(written["docker save"].read_bytes()))
    _load_and_pull(server, packed, f"{pack.__module__}/", tmp_path)


def _load_and_pull(server: Server, path: Path, to: str, tmp_path: Path) -> set[str]:
    """Load an archive twice, pull what it has; return the digests."""
    ours, crane = Ours(server.directory), Client("crane", tmp_path / "home", "--insecure")
    loaded = ours.do("load", path, "--as", to)
    assert loaded["images"]
    for number, each in enumerate(loaded["images"]):
        options = ("--platform", "linux/amd64", "--format", "oci")
        crane("pull", *options, f"{server.host}/{each['name']}", str(tmp_path / f"{number}"))
    again = ours.do("load", path, "--as", to)
    assert (again["images"], again["written_bytes"]) == (loaded["images"], 0)
    return {each["digest"] for each in loaded["images"]}
