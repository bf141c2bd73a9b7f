"""Situation A: preload a dozen images, pack the storage, start it where there is no network at all.

As the guide page ship.md has it, in its words and commands.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.clients.containerd import Containerd, mirrored, running_containerd
from tests.drills.fleet import PLATFORMS, TAG, FleetImage, make_fleet
from tests.figures import record
from tests.links.netns import an_island, inside, sent_beyond_loopback
from tests.links.ours import table
from tests.links.relay import Relay, relay
from tests.live import Server, kill, running, start_server, wait_for
from tests.upstreams.images import digest_of
from tests.upstreams.registries import registry

pytestmark = pytest.mark.fault

OWN_BYTES = 2 << 20
"""Of each platform of each image."""
SECONDS = 120.0


@dataclass
class Prepared:
    """A place with a network: the list of images, the registry that has them, and our storage.

    relay  what the registry is asked through
    """

    directory: Path
    fleet: list[FleetImage]
    relay: Relay

    @property
    def storage(self) -> Path:
        return self.directory / "storage"

    @property
    def size(self) -> int:
        """Bytes of all blobs for the platforms that are wanted, each once."""
        wanted: dict[str, int] = {}
        for image in self.fleet:
            other = {digest for digest in image.blobs if _only_for(image, digest, "linux/arm/v7")}
            wanted |= {d: len(data) for d, data in image.blobs.items() if d not in other}
        return sum(wanted.values())

    @property
    def sent(self) -> int:
        """Bytes of blobs that the registry sent."""
        return sum(one.sent for one in self.relay.asked if "/blobs/" in one.path)

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        """Begin to preload."""
        platforms = [word for platform in PLATFORMS for word in ("--platform", platform)]
        return subprocess.Popen(
            [sys.executable, "-m", "distserver", "preload", *platforms, *arguments],
            env={
                **os.environ,
                "DISTSERVER_CONFIG": str(self.directory / "config.toml"),
                "DISTSERVER_STORAGE": str(self.storage),
                "DISTSERVER_STATE": str(self.directory / "state"),
                "DISTSERVER_RESERVE_BYTES": "0",
            },
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def preload(self, *arguments: str) -> str:
        """Preload to the end, which must be good; return what was said."""
        said, _ = (process := self.start(*arguments)).communicate(timeout=SECONDS)
        assert process.returncode == 0, said
        return said


def _only_for(image: FleetImage, digest: str, platform: str) -> bool:
    using = [name for name, data in image.members.items() if digest in data.decode()]
    return using == [platform]


@pytest.fixture(scope="module")
def fleet() -> list[FleetImage]:
    return make_fleet(OWN_BYTES)


@pytest.fixture
def prepared(tmp_path: Path, fleet: list[FleetImage]) -> Iterator[Prepared]:
    """The fleet in a registry that stands for three, and the list of it."""
    with registry(tmp_path / "upstream", "registry") as upstream:
        for image in fleet:
            image.push(upstream.url)
        listener = socket.create_server(("127.0.0.1", 0))
        with relay(upstream.host, listener) as between:
            hosts = {image.name.partition("/")[0] for image in fleet}
            tables = "".join(table(host, between.url) for host in sorted(hosts))
            (tmp_path / "config.toml").write_text(tables)
            lines = [f"{image.name}:{TAG}\n" for image in fleet]
            (tmp_path / "images.txt").write_text("# the site\n" + "".join(lines))
            yield Prepared(tmp_path, fleet, between)


def test_ship(prepared: Prepared, tmp_path_factory: pytest.TempPathFactory) -> None:
    begin = time.monotonic()
    lock = prepared.directory / "site.lock"
    prepared.preload("--from", str(prepared.directory / "images.txt"), "--lock", str(lock))
    seconds, sent = time.monotonic() - begin, prepared.sent
    again = ask_again(prepared, lock)
    moved = prepared.directory / "elsewhere"
    packed = pack_and_unpack(prepared.storage, moved / "storage")
    prepared.storage.rename(prepared.directory / "gone")  # what is shipped must be enough
    places = ("--storage", str(moved / "storage"), "--state", str(moved / "state"))
    command("verify", *places)
    with an_island() as island, inside(island), running(start_server(moved)) as server:
        root = tmp_path_factory.mktemp("c")
        with running_containerd(root, {"_default": mirrored(server.url, server.url)}) as node:
            pulled = pull_all(node, prepared.fleet)
        other_platforms(server, prepared.fleet)
        command("mode", "offline", *places)
        assert status(server, prepared.fleet[0], TAG) == 200
        assert status(server, prepared.fleet[0], "other") == 404
        packets = sent_beyond_loopback(island)
    assert packets == 0
    record(
        "Situation A",
        f"{len(prepared.fleet)} images for {len(PLATFORMS)} platforms preloaded, packed by tar,"
        " started where there is loopback only; containerd pulls and runs all by tag and by digest",
        "every image pulls and runs, 0 packets out, a second run asks one HEAD a tag",
        f"{sent / 2**20:.0f} MiB in {seconds:.0f} s; tar {packed / 2**20:.0f} MiB;"
        f" {len(pulled)} pulls, the slowest {max(pulled):.1f} s; {packets} packets; {again} HEADs",
    )


def command(*arguments: str) -> str:
    """Run a command of ours, which must end well; return what it says."""
    run = [sys.executable, "-m", "distserver", *arguments]
    return subprocess.run(run, capture_output=True, text=True, check=True, timeout=SECONDS).stdout


def status(server: Server, image: FleetImage, reference: str) -> int:
    """What the server says to who asks for a manifest."""
    return server.request("GET", f"/v2/{image.name}/manifests/{reference}").status_code


def ask_again(prepared: Prepared, lock: Path) -> int:
    """Run it again by the list, and by the lock file; return the HEADs that this took."""
    prepared.relay.asked.clear()
    prepared.preload("--from", str(prepared.directory / "images.txt"))
    asked = [(one.method, one.path.rpartition("/")[2]) for one in prepared.relay.asked]
    assert asked == [("HEAD", TAG)] * len(prepared.fleet)
    prepared.relay.asked.clear()
    prepared.preload("--from", str(lock))
    assert not prepared.relay.asked
    return len(asked)


def pack_and_unpack(storage: Path, there: Path) -> int:
    """Carry the storage away by tar; return the bytes of the archive."""
    archive = storage.with_name("storage.tar")
    there.mkdir(parents=True)
    subprocess.run(["tar", "-C", storage, "-cf", archive, "."], check=True, timeout=SECONDS)
    subprocess.run(["tar", "-C", there, "-xf", archive], check=True, timeout=SECONDS)
    return archive.stat().st_size


def pull_all(node: Containerd, fleet: Sequence[FleetImage]) -> list[float]:
    """Pull and run every image by tag and, from nothing again, by digest; return the seconds of
    each pull.
    """
    took = []
    for image in fleet:
        for name in (f"{image.name}:{TAG}", f"{image.name}@{image.digest}"):
            begin = time.monotonic()
            assert f"{image.name}@{image.digest}" in node.pulled(name)
            took.append(time.monotonic() - begin)
            assert run(node, name) == "hello"
            if "@" not in name:
                node.forget_all()
    return took


def run(node: Containerd, image: str) -> str:
    """Run a container of an image that is pulled; return what it says."""
    options = ("--rm", "--net-host", "--snapshotter", "native")
    return node.ctr("run", *options, image, "drill", "/bin/busybox", "echo", "hello")


def other_platforms(server: Server, fleet: Sequence[FleetImage]) -> None:
    """What this node's containerd does not ask for is here too; what nobody wanted is not."""
    for image in fleet:
        for platform, manifest in image.members.items():
            held = status(server, image, digest_of(manifest)) == 200
            assert held == (platform in PLATFORMS), (image.name, platform)
        for digest in image.extra:
            assert status(server, image, digest) == 200
        for digest in [d for d in image.blobs if not _only_for(image, d, "linux/arm/v7")]:
            answer = server.request("GET", f"/v2/{image.name}/blobs/{digest}")
            assert answer.content == image.blobs[digest]


def test_killed_in_the_middle(prepared: Prepared) -> None:
    """Kill -9, twice; the third run brings the rest and little else."""
    arguments = ("--from", str(prepared.directory / "images.txt"))
    for share in (0.3, 0.7):
        process = prepared.start(*arguments)
        wait_for(lambda share=share: prepared.sent > share * prepared.size, SECONDS, "its share")
        kill(process.pid)
        process.communicate(timeout=SECONDS)
        assert process.returncode < 0
    said = prepared.preload(*arguments)
    ratio = prepared.sent / prepared.size
    record(
        "Situation A",
        "preload killed -9 at 30 % and at 70 %, run again",
        "bytes from upstream <= 1.05 x of all",
        f"{ratio:.3f} x of {prepared.size / 2**20:.0f} MiB",
    )
    assert f"{len(prepared.fleet)} of {len(prepared.fleet)} images are complete" in said
    assert ratio <= 1.05
