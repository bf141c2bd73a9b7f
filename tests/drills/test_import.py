"""What the import unit gives to a real containerd when a node boots, before the kubelet starts."""

from __future__ import annotations

import gzip
import io
import json
import tarfile
from collections.abc import Callable, Mapping
from pathlib import Path

from tests.drills.boot import Machine
from tests.figures import record
from tests.links.images import Image, make_image, write_layout

UNIT = "distserver-import.service"
NAMED, DOCKER, BARE = "registry.site/one:v1", "docker.io/team/two:v1", "three"


def test_archives_are_imported_and_pinned_at_boot(
    start: Callable[[], Machine], tmp_path: Path
) -> None:
    machine = start()
    machine.wait_until_up()
    images = machine.root / "var/lib/distserver/images"
    _write_archives(images, tmp_path)
    machine.run("systemctl", "enable", UNIT)
    machine.shut_down()
    machine.boot()
    machine.wait_until_up()
    assert machine.show(UNIT, "ActiveState") == "failed"
    log = machine.run("journalctl", "--no-pager", "--boot", "-u", UNIT)
    assert "bare.tar: FAILED: it names no image in full" in log
    assert "broken.tar: FAILED: " in log
    assert "2 of 4 archives failed: bare.tar, broken.tar" in log
    assert _pinned(machine) == {NAMED, DOCKER}
    (images / "bare.tar").unlink()
    (images / "broken.tar").unlink()
    machine.run("systemctl", "restart", UNIT)
    assert machine.show(UNIT, "ActiveState") == "active"
    assert _pinned(machine) == {NAMED, DOCKER}
    assert "kubelet.service" in machine.show(UNIT, "Before").split()
    aim = "the good ones are imported and pinned, the bad ones named"
    record("E", "2 good and 2 bad archives, imported at boot by containerd", aim, "2, and 2 named")


def test_a_node_without_containerd_is_told(start: Callable[[], Machine], tmp_path: Path) -> None:
    machine = start()
    machine.wait_until_up()
    _write_archives(machine.root / "var/lib/distserver/images", tmp_path)
    (machine.root / "usr/bin/ctr").unlink()
    assert machine.attempt("systemctl", "start", UNIT).returncode == 1
    log = machine.run("journalctl", "--no-pager", "-u", UNIT)
    assert "one.tar: FAILED: ctr, containerd's command, is not installed" in log


def _pinned(machine: Machine) -> set[str]:
    """Names of the images that containerd has and that the kubelet may not remove."""
    ctr = ("ctr", "--namespace", "k8s.io", "images", "list", "--quiet")
    return set(machine.run(*ctr, 'labels."io.cri-containerd.pinned"==pinned').split())


def _write_archives(directory: Path, work: Path) -> None:
    image = make_image(work / "files", 100_000)
    whole = _packed(_layout(image, work / "named", NAMED))
    (directory / "one.tar").write_bytes(whole)
    (directory / "broken.tar").write_bytes(whole[: len(whole) // 2])
    (directory / "bare.tar").write_bytes(_packed(_layout(image, work / "bare", BARE)))
    (directory / "two.tar.gz").write_bytes(gzip.compress(_packed(_docker(image))))


def _layout(image: Image, directory: Path, name: str) -> Mapping[str, bytes]:
    """The files of an OCI layout; a name without a host is a bare tag in it."""
    write_layout(image, directory, name, name)
    paths = [path for path in directory.rglob("*") if path.is_file()]
    files = {str(path.relative_to(directory)): path.read_bytes() for path in paths}
    if name == BARE:
        index = json.loads(files["index.json"])
        del index["manifests"][0]["annotations"]["io.containerd.image.name"]
        files["index.json"] = json.dumps(index).encode()
    return files


def _docker(image: Image) -> Mapping[str, bytes]:
    """The files of an archive as `docker save` writes it."""
    config = json.loads(image.manifest)["config"]["digest"]
    files = {f"{digest[7:]}.part": path.read_bytes() for digest, path in image.blobs.items()}
    one = {
        "Config": f"{config[7:]}.part",
        "RepoTags": ["team/two:v1"],
        "Layers": [f"{image.layer[7:]}.part"],
    }
    return {**files, "manifest.json": json.dumps([one]).encode()}


def _packed(files: Mapping[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, data in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            archive.addfile(entry, io.BytesIO(data))
    return buffer.getvalue()
