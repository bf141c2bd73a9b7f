"""Situation D: our own pod starts from an archive on a node that has no image and no network.

As the guide page bootstrap.md has it: what is in the images folder is imported before any pod
starts; all other images then come from our pod.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import pytest
import requests
import yaml

from distserver.bundle.saving.own import OWN_IMAGE, file_name
from tests.clients.containerd import PAUSE, Containerd, mirrored, running_containerd
from tests.clients.pods import Pod, Pods, pods
from tests.clients.run import environment
from tests.components.images import layer_of
from tests.counts import count
from tests.drills.commands import Ours
from tests.drills.fleet import BUSYBOX, FleetImage, make_fleet
from tests.drills.own_image import SOURCE, own_archive
from tests.figures import record
from tests.links.netns import a_link, an_island, inside, sent_beyond_loopback
from tests.live import START_SECONDS, running, start_server, wait_for
from tests.upstreams.images import push_all

pytestmark = pytest.mark.fault

OWN_BYTES, COUNT, USER = 2 << 20, 6, 65532
URL = "http://127.0.0.1:5000"
Network = Callable[[], AbstractContextManager[str]]


@dataclass(frozen=True)
class Carried:
    """What was prepared where there is a network, and is on the node's disk when it boots.

    data    becomes /var/lib/distserver of our pod
    images  archives that are imported at boot: of ours, and of the pause image
    fleet   what the storage holds beside
    """

    data: Path
    images: Path
    fleet: Sequence[FleetImage]


@pytest.fixture(scope="module")
def carried(tmp_path_factory: pytest.TempPathFactory) -> Carried:
    connected, data, images = map(tmp_path_factory.mktemp, ("connected", "data", "images"))
    pause, fleet, ours = make_pause(), make_fleet(OWN_BYTES, COUNT), Ours(data)
    with running(start_server(connected, "--workers", "1", "--offline")) as server:
        for image in (pause, *fleet):
            push_all(f"{server.url}/v2/{image.name}", image.blobs.values(), image.manifests)
    bundle = connected / "bundle.tar"
    Ours(connected).run("save", "--all", "-o", bundle)
    ours.run("load", bundle, own_archive())
    ours.run("image", "save", "-o", images)
    ours.run("save", PAUSE, "-o", images / "pause.tar")
    for path in (data, *data.rglob("*")):
        os.chown(path, USER, USER)
    return Carried(data, images, fleet)


def make_pause() -> FleetImage:
    """An image that does nothing for ever: it holds the network of a pod."""
    name, _, tag = PAUSE.rpartition(":")
    image, base = FleetImage(name), layer_of({"bin/busybox": BUSYBOX.read_bytes()})
    image.member("linux/amd64", 0, base, tag, ("sleep", "1000000"))
    return image


@contextmanager
def _cable() -> Iterator[str]:
    """A namespace with a route, so that whatever somebody tries to send is counted."""
    with a_link() as link:
        yield link.near


@pytest.mark.parametrize(
    ("network", "mode"),
    [
        pytest.param(an_island, "online", id="no route"),
        pytest.param(_cable, "offline", id="offline"),
    ][: count(1, 2)],
)
def test_a_cold_node_starts_our_pod_and_pulls_through_it(
    carried: Carried, tmp_path: Path, network: Network, mode: str
) -> None:
    with network() as place, inside(place), running_containerd(tmp_path / "c") as node:
        assert node.ctr("images", "list", "--quiet") == ""
        booted, imported = time.monotonic(), import_all(node, carried.images)
        with pods(node) as kubelet:
            pod = serve(kubelet, carried.data, mode)
            serving = time.monotonic() - booted
            node.hosts("_default", mirrored(URL, URL))
            node.pull(OWN_IMAGE)  # as a kubelet would that has lost it
            slowest = max(image.pull(node, name) for image in carried.fleet for name in image.names)
            for number, image in enumerate(carried.fleet):
                one = kubelet.start(f"app-{number}", image.names[number % 2])
                assert (one.wait(), one.said()) == (0, ["hello"])
            assert pod.stop(20) == 0, pod.said()
        packets = sent_beyond_loopback(place)
    assert packets == 0
    record(
        "Situation D",
        f"a cold containerd, {'loopback only' if mode == 'online' else 'a cable, mode offline'}:"
        " archives imported and pinned, our pod started by CRI,"
        f" {COUNT} images pulled through it by tag and by digest, and run",
        "every pod runs, 0 packets out",
        f"imported in {imported:.1f} s, serving after {serving:.1f} s; the slowest pull"
        f" {slowest:.1f} s; {packets} packets",
    )


def test_a_node_without_the_pause_image_says_so(carried: Carried, tmp_path: Path) -> None:
    with an_island() as island, inside(island), running_containerd(tmp_path / "c") as node:
        archive = str(carried.images / file_name("amd64"))
        node.ctr("images", "import", "--snapshotter", "native", archive)
        with pods(node) as kubelet, pytest.raises(grpc.RpcError, match="failed to get sandbox"):
            kubelet.start("distserver", OWN_IMAGE)


def import_all(node: Containerd, images: Path) -> float:
    """Do what distserver-import.service does at boot; return the seconds that it took."""
    begin = time.monotonic()
    here = {"CONTAINERD_ADDRESS": f"{node.root}/c.sock", "CONTAINERD_SNAPSHOTTER": "native"}
    done = subprocess.run(
        [sys.executable, "-P", SOURCE / "contrib/systemd/import_images.py", images],
        env={**environment(node.root), **here},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.splitlines() == [f"{file_name('amd64')}: {OWN_IMAGE}", f"pause.tar: {PAUSE}"]
    seconds = time.monotonic() - begin
    pinned = node.ctr("images", "list", "--quiet", 'labels."io.cri-containerd.pinned"==pinned')
    assert set(pinned.split()) == {OWN_IMAGE, PAUSE}
    return seconds


def guided() -> tuple[dict[str, Any], dict[str, Any]]:
    """The pod of the guide, and its container."""
    page = (SOURCE / "docs/guide/bootstrap.md").read_text()
    (text,) = re.findall(r"```yaml\n(.*?)```", page, re.DOTALL)
    spec = yaml.safe_load(text)["spec"]
    return spec, spec["containers"][0]


def serve(kubelet: Pods, data: Path, mode: str) -> Pod:
    """Start our pod and wait until it is ready."""
    spec, container = guided()
    assert (spec["hostNetwork"], container["image"]) == (True, OWN_IMAGE)
    assert [one["name"] for one in container["env"]] == ["DISTSERVER_MODE"]
    env = {"DISTSERVER_MODE": mode, "DISTSERVER_RESERVE_BYTES": "0"}
    mounts = {one["mountPath"]: data for one in container["volumeMounts"]}
    pod = kubelet.start(container["name"], container["image"], env, mounts)
    wait_for(ready, START_SECONDS, "answer")
    return pod


def ready() -> bool:
    try:
        return requests.get(f"{URL}/readyz", timeout=5).status_code == 200
    except requests.ConnectionError:
        return False
