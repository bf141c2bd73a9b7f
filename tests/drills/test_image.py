"""Our own image as it is built: small, the same at every build, read and run by every engine."""

from __future__ import annotations

import json
import subprocess
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import requests

from distserver import __version__
from distserver.bundle.saving.own import OWN_IMAGE
from tests.clients.containerd import running_containerd
from tests.clients.engine import engine
from tests.clients.podman import own_podman
from tests.clients.run import Client
from tests.components.images import OCI, build
from tests.components.require import require
from tests.counts import count
from tests.drills import own_image
from tests.drills.boot import debian
from tests.drills.own_image import SOURCE, own_archive
from tests.figures import record
from tests.links.netns import an_island, inside
from tests.live import START_SECONDS, wait_for

pytestmark = pytest.mark.client

MAX_BYTES = 60_000_000
HOST = "127.0.0.1:5000"
PIP_NEEDS = ("/etc/pip.conf", "/etc/ssl/certs")
"""How pip on this machine finds its packages, where it is told so."""
RUN = (
    *("--runtime", "runc", "--cgroup-manager", "cgroupfs", "--ulimit", "nofile=4096:4096"),
    *("--ulimit", "nproc=4096:4096", "--network", "host", "--read-only"),
    *("--read-only-tmpfs=false", "--cap-drop", "all", "--security-opt", "no-new-privileges"),
    *("--env", "DISTSERVER_ALLOW_ANONYMOUS_PUSH=true", "--env", "DISTSERVER_RESERVE_BYTES=0"),
)
full = pytest.mark.skipif(not count(0, 1), reason="minutes; at full counts")


@pytest.fixture(scope="module")
def archive() -> Path:
    return own_archive()


def test_it_is_small(archive: Path) -> None:
    size = archive.stat().st_size
    record("Situation D", "our own image, amd64", "<= 60 MB", f"{size / 1e6:.1f} MB")
    assert size <= MAX_BYTES


@pytest.mark.parametrize("kind", ["oci-archive", "docker-archive"])
def test_skopeo_finds_it_by_its_full_name(archive: Path, tmp_path: Path, kind: str) -> None:
    skopeo = Client("skopeo", tmp_path / "home")
    found = json.loads(skopeo("inspect", "--config", f"{kind}:{archive}:{OWN_IMAGE}"))
    assert (found["architecture"], found["os"]) == ("amd64", "linux")
    assert found["config"]["User"] == "65532:65532"


def test_containerd_imports_it(archive: Path, tmp_path: Path) -> None:
    with running_containerd(tmp_path / "c") as node:
        node.ctr("images", "import", "--snapshotter", "native", str(archive))
        assert OWN_IMAGE in node.ctr("images", "list", "--quiet").split()


def test_docker_loads_it(archive: Path, tmp_path: Path) -> None:
    with engine(tmp_path / "docker", {}) as docker:
        docker("load", "--quiet", "--input", str(archive))
        docker("image", "inspect", OWN_IMAGE)


@contextmanager
def loaded(archive: Path, directory: Path) -> Iterator[Client]:
    """Lend a podman that has loaded an archive, where there is no network but loopback."""
    with an_island() as island, inside(island), own_podman(directory) as podman:
        podman("load", "--quiet", "--input", str(archive))
        yield podman


def test_it_serves_as_anybody_on_a_root_that_nobody_can_write(
    archive: Path, tmp_path: Path
) -> None:
    with loaded(archive, tmp_path) as podman, serving(podman) as made:
        push_and_pull(tmp_path)
        # What an operator needs in it at three in the morning.
        assert "distserver serve" in podman("exec", made, "ps")
        assert "mode" in podman("exec", made, "python3", "-m", "distserver", "config")


@contextmanager
def serving(podman: Client) -> Iterator[str]:
    """Run our image; yields the container once it answers. It has to end well."""
    made = podman("run", "--detach", *RUN, OWN_IMAGE)
    try:
        wait_for(answers, START_SECONDS, "answer")
        assert "uid=65532" in podman("exec", made, "id")
        assert podman.attempt("exec", made, "touch", "/x").returncode
        yield made
    finally:
        podman("stop", "--time", "20", made)
        code = podman("inspect", "--format", "{{.State.ExitCode}}", made)
        said = podman("logs", made)
        podman("rm", "--force", "--volumes", made)
    assert (code, "Traceback" in said) == ("0", False), said


def answers() -> bool:
    try:
        return requests.get(f"http://{HOST}/healthz", timeout=5).status_code == 200
    except requests.ConnectionError:
        return False


def push_and_pull(directory: Path) -> None:
    """Push an image of two architectures and pull it again."""
    image, there = build(directory / "layout", OCI), f"docker://{HOST}/site/app:v1"
    skopeo, back = Client("skopeo", directory / "home"), directory / "back"
    copy = ("copy", "--all", "--preserve-digests")
    skopeo(*copy, "--dest-tls-verify=false", f"oci:{image.directory}:v1", there)
    skopeo(*copy, "--src-tls-verify=false", there, f"oci:{back}:v1")
    assert _digest(back) == image.digest


def _digest(layout: Path) -> str:
    listed = json.loads((layout / "index.json").read_text())["manifests"]
    return str(listed[0]["digest"])


@full
def test_the_same_bytes_at_every_build(tmp_path: Path) -> None:
    paths = [tmp_path / name for name in ("one.tar", "two.tar")]
    for path in paths:
        own_image.build("amd64", path, {"SOURCE_DATE_EPOCH": "1700000000"})
    assert paths[0].read_bytes() == paths[1].read_bytes()
    aim = "equal byte for byte"
    record("Situation D", "our own image built twice with SOURCE_DATE_EPOCH", aim, "equal")


@full
def test_arm64_runs(tmp_path: Path) -> None:
    root = unpack(own_archive("arm64"), tmp_path / "root")
    (python,) = (root / "usr/bin").glob("python3.*[0-9]")
    command = [require("qemu-aarch64-static"), "-L", root, python, "-m", "distserver", "--version"]
    env = {"PYTHONHOME": f"{root}/usr", "PYTHONPATH": f"{root}/opt/distserver"}
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=120)
    assert __version__ in done.stdout, done.stderr


def unpack(archive: Path, root: Path) -> Path:
    """Unpack the layers of an archive into a directory; return that."""
    with tarfile.open(archive) as outer:
        names = json.load(outer.extractfile("manifest.json"))[0]["Layers"]  # type: ignore[arg-type]
        for name in names:
            with tarfile.open(fileobj=outer.extractfile(name)) as layer:
                layer.extractall(root, filter="tar")
    return root


@full
def test_containerfile(tmp_path: Path) -> None:
    """On a Debian of ours, as no registry is within reach; packages come by pip's network."""
    vfs = ("--root", str(tmp_path / "b"), "--runroot", str(tmp_path / "r"), "--storage-driver=vfs")
    buildah = Client("buildah", tmp_path / "home", *vfs)
    base = buildah("from", "scratch")
    buildah("add", "--quiet", base, f"{debian()}/", "/")
    buildah("commit", "--quiet", "--rm", base, "localhost/base")
    given = [f"--volume={path}:{path}:ro" for path in PIP_NEEDS if Path(path).exists()]
    file = SOURCE / "contrib/image/Containerfile"
    options = ("--isolation=chroot", "--network=host", "--build-arg=BASE=localhost/base", *given)
    buildah("build", *options, "--file", str(file), "--tag", OWN_IMAGE, str(SOURCE))
    archive = tmp_path / "built.tar"
    buildah("push", "--quiet", OWN_IMAGE, f"docker-archive:{archive}:{OWN_IMAGE}")
    with loaded(archive, tmp_path / "podman") as podman, serving(podman):
        push_and_pull(tmp_path)
