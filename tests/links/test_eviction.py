"""A cache with a cap before a real registry keeps to its room, and nothing that is needed goes."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from distserver.evicting.standing import last_look
from distserver.proxy.upstream.mode import Mode
from tests.counts import count
from tests.evicting.pods import Api, kubernetes, pod
from tests.faults import disks
from tests.figures import record
from tests.links.images import Image, make_image
from tests.links.ours import Ours, ours, table
from tests.links.pulls import pull
from tests.links.readers import Reader
from tests.links.relay import relay
from tests.links.upstream import Upstream
from tests.live import storage_flags, wait_for

pytestmark = pytest.mark.fault

ROOT = Path(__file__).parent.parent.parent
STANDIN = ROOT / "tests" / "evicting" / "standin"
MIB = 1 << 20
IMAGE_BYTES = count(4 * MIB, 50 * MIB)
IMAGES = count(28, 206)
CAP_BYTES = count(20 * MIB, 2000 * MIB)
KEPT = 6
KEPT_BYTES = MIB
"""Images that are pinned, or run somewhere: the first ones."""
SMALL_BYTES = 256 << 10
"""Manifests, configs and records, which the cap does not count."""


def environ(**more: object) -> dict[str, str]:
    path = os.pathsep.join(map(str, (STANDIN, ROOT)))
    return {"PYTHONPATH": path, **{f"DISTSERVER_{k}": str(v) for k, v in more.items()}}


def name(number: int) -> str:
    return f"site/evicted-{number}"


def here(number: int) -> str:
    return f"/v2/docker.io/{name(number)}"


def images(directory: Path, upstream: Upstream, sizes: list[int]) -> list[Image]:
    """Let the upstream have images of one layer each; their files lie in the directory."""
    made = [make_image(directory, size, f"evicted {n}") for n, size in enumerate(sizes)]
    for number, image in enumerate(made):
        upstream.push(image, name(number), "v1")
    return made


@contextmanager
def cluster(directory: Path) -> Iterator[tuple[Api, dict[str, str]]]:
    """A cluster's API, and the variables by which a server in a pod of it knows it."""
    with kubernetes(directory) as api:
        yield (
            api,
            {
                "KUBERNETES_SERVICE_HOST": "127.0.0.1",
                "KUBERNETES_SERVICE_PORT": str(api.port),
                "TEST_ACCOUNT": str(api.account),
            },
        )


def pin(running: Ours, *images: str) -> None:
    command = [sys.executable, "-m", "distserver", "pin", *images]
    flags = [*storage_flags(running.server.storage), "--state", str(running.state)]
    subprocess.run([*command, *flags], check=True, timeout=30, capture_output=True)


class Meter(threading.Thread):
    """The most that a directory had, in bytes of files, looked at again and again."""

    def __init__(self, directory: Path) -> None:
        super().__init__(daemon=True)
        self.most, self.looks = 0, 0
        self._directory, self._ended = directory, threading.Event()

    def run(self) -> None:
        while not self._ended.wait(0.05):
            self.looks += 1
            self.most = max(self.most, used(self._directory))

    def end(self) -> int:
        self._ended.set()
        self.join(30)
        return self.most


def used(directory: Path) -> int:
    """Bytes of all files of content, in the trash and on their way as well.

    Of each file once: one may be moved to the trash between two looks, or have two names.
    """
    found: dict[int, int] = {}
    for part in ("blobs", "trash", "tmp"):
        for path in (directory / part).rglob("*"):
            try:
                status = path.stat()
            except FileNotFoundError:
                continue
            found[status.st_ino] = status.st_size
    return sum(found.values())


def test_a_cap_is_kept(tmp_path: Path, upstream: Upstream) -> None:
    sizes = [KEPT_BYTES] * KEPT + [IMAGE_BYTES] * (IMAGES - KEPT)
    with ExitStack() as stack:
        made = images(tmp_path / "images", upstream, sizes)
        api, env = stack.enter_context(cluster(tmp_path / "cluster"))
        api.pods = [
            pod(f"{name(2)}:v1"),
            pod("x:y", ids=(f"docker.io/{name(3)}@{made[3].digest}",)),
        ]
        listed = tmp_path / "list"
        listed.write_text(f"docker.io/{name(4)}:v1\n{name(5)}@{made[5].digest}\n")
        env |= environ(CACHE_BYTES=CAP_BYTES, IN_USE_FILE=listed)
        tables = table("docker.io", f"http://{upstream.host}")
        running = stack.enter_context(ours(tmp_path / "ours", tables, env=env))
        pin(running, f"{name(0)}:v1", f"docker.io/{name(1)}@*")
        client = Reader(running.host)
        begin = time.monotonic()
        for number in range(KEPT):
            pull(client, here(number), made[number])
        whole(running)
        meter = Meter(running.server.storage)
        meter.start()
        for number in range(KEPT, IMAGES):
            pull(client, here(number), made[number])
        seconds = time.monotonic() - begin
        switch(running, "offline")  # what went past the cache is not completed any more
        held = [n for n in range(IMAGES) if is_held(running, n)]
        assert set(range(KEPT)) <= set(held)
        gone = sorted(set(range(IMAGES)) - set(held))
        assert len(gone) >= IMAGES // 2
        for number in range(KEPT):
            pull(client, here(number), made[number])
        switch(running, "online")
        for number in gone:
            pull(client, here(number), made[number])
        most = meter.end()
        assert most < CAP_BYTES + IMAGE_BYTES + SMALL_BYTES, (most, CAP_BYTES)
        assert meter.looks > 10
    record(
        "Eviction",
        f"cap {CAP_BYTES // MIB} MiB, {sum(sizes) // MIB} MiB pulled through,"
        " 2 images pinned, 4 in use",
        "stays under the cap and one image; pinned and used all pull; evicted ones come back",
        f"{most / MIB:.1f} MiB at most, {sum(sizes) / MIB / seconds:.0f} MiB/s;"
        f" {len(gone)} evicted, each came back; 6 of 6 kept ones pull offline",
    )


def whole(running: Ours) -> None:
    """Wait until nothing is on its way."""
    wait_for(lambda: not list(running.state.glob("begun/*/*/*.json")), 120, "completion")


def is_held(running: Ours, number: int) -> bool:
    answer = running.server.request("HEAD", f"{here(number)}/manifests/v1", headers=PUSHER)
    return answer.status_code == 200


PUSHER = {"Accept": "application/vnd.oci.image.manifest.v1+json, */*"}
"""The question before a push: only what is stored here counts."""


def switch(running: Ours, mode: str) -> None:
    Mode(running.state, "online").switch(mode)


def test_nothing_goes_while_the_upstream_is_cut(tmp_path: Path, upstream: Upstream) -> None:
    """The disk at the floor: held images pull, and stay until the upstream answers again."""
    disk_bytes, some, size = 48 * MIB, 6, 3 * MIB
    with ExitStack() as stack:
        made = images(tmp_path / "images", upstream, [size] * some)
        disk = stack.enter_context(disks.small_disk("ext4", tmp_path, disk_bytes, 4000))
        link = stack.enter_context(ExitStack())
        listener = socket.create_server(("127.0.0.1", 0))
        port = listener.getsockname()[1]
        link.enter_context(relay(upstream.host, listener))
        tables = table("docker.io", f"http://127.0.0.1:{port}")
        env = environ(CACHE_FREE_BYTES=8 * MIB)
        running = stack.enter_context(
            ours(tmp_path / "ours", tables, env=env, storage=disk / "storage")
        )
        client = Reader(running.host)
        for number, image in enumerate(made):
            pull(client, here(number), image)
        whole(running)
        link.close()
        disks.fill_bytes(disk, 4 * MIB)
        wait_for(lambda: reason(running) == "unreachable", 40, "look at the cache")
        for number, image in enumerate(made):
            pull(client, here(number), image)
        link.enter_context(relay(upstream.host, socket.create_server(("127.0.0.1", port))))
        wait_for(lambda: free(disk) >= 8 * MIB, 90, "room")
        held = [n for n in range(some) if is_held(running, n)]
        assert 0 < len(held) < some
    record(
        "Eviction",
        "upstream cut, disk filled to below the floor, then the upstream back",
        "nothing evicted while it is cut, held images pull",
        f"{some} of {some} pull while it is cut; {some - len(held)} evicted once it answers",
    )


def reason(running: Ours) -> str:
    found = last_look(running.state)
    return found.reason if found else ""


def free(disk: Path) -> int:
    status = os.statvfs(disk)
    return status.f_bavail * status.f_frsize
