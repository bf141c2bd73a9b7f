"""What `save` wrote, read by those who will have to: skopeo, crane, containerd, podman, docker."""

from __future__ import annotations

import hashlib
import json
import tarfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.clients.containerd import running_containerd
from tests.clients.engine import engine
from tests.clients.podman import own_podman
from tests.clients.run import Client
from tests.components.images import OCI, Image, build
from tests.drills.commands import Ours
from tests.figures import record
from tests.live import Server, running, start_server

pytestmark = pytest.mark.client
HUB, LOCAL = "docker.io/library/app:v1", "distserver.internal/site/app:v1"
SIGNATURE = "application/vnd.dev.cosign.simplesigning.v1+json"
Show = Callable[[str, str], None]


@dataclass(frozen=True)
class Bundles:
    """The same image of two architectures under two names, once whole, once for amd64 alone."""

    image: Image
    whole: Path
    partly: Path


@pytest.fixture(scope="module")
def bundles(tmp_path_factory: pytest.TempPathFactory) -> Bundles:
    root = tmp_path_factory.mktemp("bundles")
    image, ours = build(root / "layout", OCI), Ours(root)
    for name in ("docker.io/library/app", "site/app"):
        ours.run("load", root / "layout", "--as", name)
    _sign(ours, root, image)
    ours.run("save", "--all", "-o", root / "whole.tar")
    ours.run("save", "app:v1", "-o", root / "partly.tar", "--platform", "linux/amd64")
    return Bundles(image, root / "whole.tar", root / "partly.tar")


def _sign(ours: Ours, root: Path, image: Image) -> None:
    """Sign as cosign does: a tag, and layers that no container engine unpacks."""
    with running(start_server(root, "--workers", "1", "--offline")) as server:
        layer, config = b'{"critical": 1}', b'{"architecture": "", "os": ""}'
        parts = [
            {"mediaType": kind, "digest": _digest(data), "size": len(data)}
            for kind, data in ((OCI.config, config), (SIGNATURE, layer))
        ]
        for data in (layer, config):
            where = f"/v2/site/app/blobs/uploads/?digest={_digest(data)}"
            assert server.request("POST", where, data=data).status_code == 201
        fields = {"schemaVersion": 2, "mediaType": OCI.manifest, "config": parts[0]}
        body = json.dumps({**fields, "layers": parts[1:]})
        where = f"/v2/site/app/manifests/{image.digest.replace(':', '-')}.sig"
        kind = {"Content-Type": OCI.manifest}
        assert server.request("PUT", where, data=body, headers=kind).status_code == 201


@pytest.fixture
def show() -> Show:
    def shown(client: str, done: str) -> None:
        record("Bundles", f"{client}: {done}", "full names and digests as saved", "all as saved")

    return shown


@pytest.fixture
def live(tmp_path: Path) -> Iterator[Server]:
    with running(start_server(tmp_path / "live", "--workers", "1", "--offline")) as server:
        yield server


def test_skopeo(bundles: Bundles, tmp_path: Path, show: Show) -> None:
    skopeo = Client("skopeo", tmp_path / "home")
    for name in (HUB, LOCAL):
        raw = skopeo.attempt("inspect", "--raw", f"oci-archive:{bundles.whole}:{name}").stdout
        assert _digest(raw.encode()) == bundles.image.digest
    there = tmp_path / "copied"
    source = f"oci-archive:{bundles.whole}:{HUB}"
    skopeo("copy", "--all", "--preserve-digests", source, f"oci:{there}:v1")
    for child in (bundles.image.digest, *bundles.image.children.values()):
        assert (there / "blobs/sha256" / child[7:]).is_file()
    partly = f"oci-archive:{bundles.partly}:{HUB}"
    skopeo("copy", "--override-arch", "amd64", partly, f"dir:{tmp_path / 'partly'}")
    assert skopeo.attempt("copy", "--all", partly, f"dir:{tmp_path / 'all'}").returncode != 0
    show("skopeo", "inspect and copy --all from a bundle of two names")


def test_crane(bundles: Bundles, live: Server, tmp_path: Path, show: Show) -> None:
    crane = Client("crane", tmp_path / "home", "--insecure")
    with tarfile.open(bundles.whole) as archive:
        archive.extractall(tmp_path / "layout", filter="data")
    crane("push", "--index", str(tmp_path / "layout"), f"{live.host}/all:1")
    listed = json.loads(crane("manifest", f"{live.host}/all:1"))["manifests"]
    named = {line["annotations"].get("io.containerd.image.name") for line in listed}
    assert {HUB, LOCAL} <= named
    crane("validate", "--remote", f"{live.host}/all@{bundles.image.digest}")
    crane("validate", "--tarball", str(bundles.partly))
    show("crane", "push --index of a bundle's layout, validate")


@pytest.mark.parametrize("which", ["whole", "partly"])
def test_containerd(bundles: Bundles, tmp_path: Path, which: str, show: Show) -> None:
    """Names are those that kubelet asks for; signatures are taken for no images."""
    with running_containerd(tmp_path / "c") as node:
        path = str(getattr(bundles, which))
        node.ctr("images", "import", "--snapshotter", "native", path)
        lines = [line.split() for line in node.ctr("images", "list").splitlines()[1:]]
        found = {line[0]: line[2] for line in lines if ":" in line[0][7:]}
    names = (HUB, LOCAL) if which == "whole" else (HUB,)
    assert {name: found.get(name) for name in names} == dict.fromkeys(names, bundles.image.digest)
    assert not [name for name in found if name.endswith(".sig")]
    show("containerd", f"ctr images import of a bundle, {which}")


@pytest.mark.parametrize("which", ["whole", "partly"])
def test_podman(bundles: Bundles, tmp_path: Path, which: str, show: Show) -> None:
    with own_podman(tmp_path) as podman:
        podman("load", "--quiet", "--input", str(getattr(bundles, which)))
        for name in (HUB, LOCAL) if which == "whole" else (HUB,):
            podman("image", "exists", name)
    show("podman", f"load of a bundle, {which}")


@pytest.mark.parametrize("which", ["whole", "partly"])
def test_docker(bundles: Bundles, tmp_path: Path, which: str, show: Show) -> None:
    with engine(tmp_path / "docker", {}) as docker:
        docker("load", "--quiet", "--input", str(getattr(bundles, which)))
        found = json.loads(docker("image", "inspect", HUB))[0]
        config = bundles.image.manifest(bundles.image.children["amd64"])["config"]
        assert found["Id"] == config["digest"]  # type: ignore[index]
        if which == "whole":
            docker("image", "inspect", LOCAL)
    show("docker engine", f"load of a bundle, {which}")


def _digest(data: bytes) -> str:
    return "sha256:" + hashlib.sha256(data).hexdigest()
