"""A damaged file in any place of the store: that entry alone is affected, and a push heals it."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.faults.images import (
    TYPE,
    Call,
    Image,
    assert_pulls,
    assert_status,
    digest_of,
    live,
    make_image,
    push,
)
from tests.figures import record
from tests.live import Server, start_server, wait_for

pytestmark = pytest.mark.fault

SIZE = 2_500_000  # more than two chunks, so that there are chunk hashes
BYSTANDER = make_image("bystander", 100_000)


@pytest.fixture(scope="module")
def outcomes() -> Iterator[list[bool]]:
    """Whether an image was served right though a file of it was damaged, of every case."""
    found: list[bool] = []
    yield found
    record(
        "R-05",
        f"a truncated, garbage or missing file in any place of the store, {len(found)} cases",
        "never a wrong body; that entry alone; verify tells; a push heals",
        f"{found.count(True)} served right all the same, {found.count(False)} refused; all healed",
    )


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server of this module's own, with one image that nothing may ever touch."""
    server = start_server(tmp_path_factory.mktemp("damage"), "--workers", "2")
    try:
        push(live(server), "by/stander", "v1", BYSTANDER)
        yield server
        assert verify(server)[0] == 0
        assert server.stop() == 0
    finally:
        server.kill()


def _hex(data: bytes) -> str:
    return digest_of(data).removeprefix("sha256:")


def _only(directory: Path) -> Path:
    (path,) = directory.iterdir()
    return path


def _content(kind: str, data: bytes) -> str:
    return f"{kind}/sha256/{_hex(data)[:2]}/{_hex(data)}"


PLACES: dict[str, Callable[[Path, str, Image], Path]] = {
    "layer": lambda root, name, image: root / _content("blobs", image.layer),
    "config": lambda root, name, image: root / _content("blobs", image.config),
    "manifest": lambda root, name, image: root / _content("blobs", image.manifest),
    "chunk hashes": lambda root, name, image: root / _content("chunks", image.layer),
    "blob record": lambda root, name, image: _only(
        root / "repositories" / name / "_blobs/sha256" / _hex(image.layer)
    ),
    "manifest record": lambda root, name, image: _only(
        root / "repositories" / name / "_manifests/sha256" / _hex(image.manifest)
    ),
    "tag version": lambda root, name, image: _only(root / "repositories" / name / "_tags/v1"),
    "catalogue": lambda root, name, image: root / "catalog" / name / "_name",
}


def truncate(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def garbage(path: Path) -> None:
    path.write_bytes(random.Random(0).randbytes(path.stat().st_size or 100))


def one_bit(path: Path) -> None:
    data = bytearray(path.read_bytes() or b"\0")
    data[len(data) // 2] ^= 4
    path.write_bytes(data)


def nothing(path: Path) -> None:
    os.truncate(path, 0)


def directory(path: Path) -> None:
    path.unlink()
    path.mkdir()


def link(path: Path) -> None:
    path.unlink()
    path.symlink_to("/etc/passwd")


def pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


DAMAGES = [truncate, garbage, one_bit, nothing, directory, link, pipe]


def verify(server: Server) -> tuple[int, str]:
    """Exit code and all output of `distserver verify`."""
    done = subprocess.run(
        [sys.executable, "-m", "distserver", "verify", "--storage", str(server.storage)]
        + ["--state", str(server.directory / "state")],
        capture_output=True,
        text=True,
        timeout=60,
    )
    return done.returncode, done.stdout + done.stderr


def named(told: str, name: str, image: Image) -> list[str]:
    """The lines of verify that tell of damage to an image."""
    assert "Traceback" not in told
    signs = [f"{name}:v1", f"{name}@", *map(_hex, (*image.blobs, image.manifest))]
    lines = [line for line in told.splitlines() if not line.startswith(("ok ", "WARNING"))]
    return [line for line in lines if any(sign in line for sign in signs)]


def look(call: Call, name: str, image: Image) -> bool:
    """Whether the image pulls whole; what does not is refused or cut short, never wrong."""
    good = True
    paths = {f"manifests/{ref}": image.manifest for ref in ("v1", image.digest)}
    paths |= {f"blobs/{digest_of(blob)}": blob for blob in image.blobs}
    for path, expected in paths.items():
        for headers in ({}, {"Range": "bytes=0-"}):
            answer = call("GET", f"/v2/{name}/{path}", **headers)
            assert_status(answer, 200, 206, 404, 416, 503)  # an empty file has no range
            served = answer.status < 300 and answer.whole
            assert not served or answer.body == expected, path
            assert not served or "manifests/" not in path or answer.headers["Content-Type"] == TYPE
            good = good and served
    listed = json.loads(call("GET", "/v2/_catalog?n=1000").body)["repositories"]
    return good and name in listed


def damage(server: Server, place: str, harm: Callable[[Path], None], name: str) -> Image:
    image = make_image(name, SIZE)
    push(live(server), name, "v1", image)
    assert look(live(server), name, image)
    harm(PLACES[place](server.storage, name, image))
    return image


@pytest.mark.parametrize("harm", DAMAGES, ids=lambda harm: harm.__name__)
@pytest.mark.parametrize("place", PLACES)
def test_one_damaged_file(
    store: Server, outcomes: list[bool], place: str, harm: Callable[[Path], None]
) -> None:
    """Refused or absent, never wrong; verify tells; a push heals."""
    name = f"{place.replace(' ', '-')}/{harm.__name__.replace('_', '-')}"
    call = live(store)
    image = damage(store, place, harm, name)
    good = look(call, name, image)
    assert_pulls(call, "by/stander", "v1", BYSTANDER)
    code, told = verify(store)
    if place == "tag version":  # a tag whose every version vanished is one that never was
        assert_status(call("GET", f"/v2/{name}/manifests/{image.digest}"), 200)
    else:
        assert good or (code == 1 and named(told, name, image)), told
    push(call, name, "v1", image)
    assert look(call, name, image)
    assert not named(verify(store)[1], name, image)
    outcomes.append(good)


@pytest.mark.parametrize("harm", DAMAGES, ids=lambda harm: harm.__name__)
def test_a_damaged_upload_piece(store: Server, harm: Callable[[Path], None]) -> None:
    """What was taken in PATCHes is never published as something else."""
    call, data = live(store), random.Random(harm.__name__).randbytes(50_000)
    name = f"piece/{harm.__name__.replace('_', '-')}"
    session = call("POST", f"/v2/{name}/blobs/uploads/").headers["Location"]
    for part in (data[:30_000], data[30_000:]):
        assert_status(call("PATCH", session, part), 202)
    pieces = store.storage / "repositories" / name / "_uploads" / session.rpartition("/")[2]
    harm(next(path for path in sorted(pieces.iterdir()) if path.name.startswith("0")))
    answer = call("PUT", f"{session}?digest={digest_of(data)}")
    assert_status(answer, 400, 503)
    assert_status(call("GET", f"/v2/{name}/blobs/{digest_of(data)}"), 404)
    assert_status(call("DELETE", session), 204)


@pytest.mark.parametrize("harm", [truncate, nothing, directory, link, pipe])
def test_a_damaged_only_piece(store: Server, harm: Callable[[Path], None]) -> None:
    """A session of one piece is published without reading it again, but not if it shrank."""
    call, data = live(store), random.Random(f"only {harm.__name__}").randbytes(50_000)
    session = call("POST", "/v2/only/piece/blobs/uploads/").headers["Location"]
    assert_status(call("PATCH", session, data), 202)
    pieces = store.storage / "repositories/only/piece/_uploads" / session.rpartition("/")[2]
    harm(next(path for path in sorted(pieces.iterdir()) if path.name.startswith("0")))
    assert_status(call("PUT", f"{session}?digest={digest_of(data)}"), 400, 503)
    assert_status(call("GET", f"/v2/only/piece/blobs/{digest_of(data)}"), 404)
    assert_status(call("DELETE", session), 204)


@pytest.mark.parametrize("harm", [d for d in DAMAGES if d is not one_bit], ids=lambda d: d.__name__)
def test_a_damaged_session(store: Server, harm: Callable[[Path], None]) -> None:
    """A session whose opening is damaged is an unknown one, or unavailable; others go on."""
    call, name = live(store), f"session/{harm.__name__.replace('_', '-')}"
    sessions = [call("POST", f"/v2/{name}/blobs/uploads/").headers["Location"] for _ in range(2)]
    uploads = store.storage / "repositories" / name / "_uploads"
    harm(uploads / sessions[0].rpartition("/")[2] / "_open")
    assert_status(call("PATCH", sessions[0], b"data"), 404, 503)
    assert_status(call("PATCH", sessions[1], b"data"), 202)


@pytest.mark.parametrize("harm", [directory, link, pipe], ids=lambda harm: harm.__name__)
def test_a_damaged_identity(start: Callable[..., Server], harm: Callable[[Path], None]) -> None:
    """Without its identity a storage is unavailable, not empty; it is back with the file."""
    server = start()
    call, image = live(server), make_image("identity")
    push(call, "a/b", "v1", image)
    identity = _only(server.storage / "_store")
    saved = identity.rename(identity.parent.parent.parent / "saved")
    saved_bytes = saved.read_bytes()
    identity.write_bytes(saved_bytes)
    harm(identity)
    assert call("GET", "/v2/a/b/manifests/v1").error == "UNAVAILABLE"
    assert call("GET", "/v2/_catalog").error == "UNAVAILABLE"
    code, told = verify(server)
    assert code == 1
    assert "Traceback" not in told
    identity.rmdir() if identity.is_dir() else identity.unlink()
    identity.write_bytes(saved_bytes)
    wait_for(lambda: call("GET", "/v2/a/b/manifests/v1").status == 200, 10, "recovery")
    assert_pulls(call, "a/b", "v1", image)


@pytest.mark.parametrize("harm", [garbage, nothing], ids=lambda harm: harm.__name__)
def test_a_start_over_a_damaged_identity(
    start: Callable[..., Server], harm: Callable[[Path], None]
) -> None:
    server = start()
    push(live(server), "a/b", "v1", make_image("identity"))
    assert server.stop() == 0
    harm(_only(server.storage / "_store"))
    call = live(start(server.directory))
    assert call("GET", "/readyz").status == 503
    assert call("GET", "/v2/a/b/manifests/v1").error == "UNAVAILABLE"
    assert verify(server)[0] == 1


def test_a_manifest_of_another_type_in_the_record(store: Server) -> None:
    """A damaged record falls back to the type that the manifest names itself."""
    image = damage(store, "manifest record", garbage, "record/type")
    answer = live(store)("GET", "/v2/record/type/manifests/v1")
    assert answer.body == image.manifest
    assert answer.headers["Content-Type"] == TYPE


STRAYS = (
    ".syncthing.x.tmp",
    "~syncthing~x.tmp",
    "x.sync-conflict-20261123-030204-4XOJSRQ",
    "README",
    "\u00fcn\u00ef",
    "a" * 200,
)


def test_strange_files_everywhere(start: Callable[..., Server]) -> None:
    """What others leave in the store's directories is no content and hurts nobody."""
    server = start()
    call, image, other = live(server), make_image("strange"), make_image("later")
    push(call, "a/b", "v1", image)
    session = call("POST", "/v2/a/b/blobs/uploads/").headers["Location"]
    for root in [path for path in server.storage.rglob("*") if path.is_dir()]:
        for stray in STRAYS:
            (root / stray).write_bytes(b"stray")
    assert_status(call("PATCH", session, image.layer), 202)
    assert_status(call("PUT", f"{session}?digest={digest_of(image.layer)}"), 201)
    for tag, pushed in (("v1", image), ("v2", other)):
        push(call, "a/b", tag, pushed)
        assert_pulls(call, "a/b", tag, pushed)
    assert json.loads(call("GET", "/v2/a/b/tags/list").body)["tags"] == ["v1", "v2"]
    assert json.loads(call("GET", "/v2/_catalog").body)["repositories"] == ["a/b"]
    assert_status(call("GET", f"/v2/a/b/referrers/{image.digest}"), 200)
    assert_status(call("DELETE", f"/v2/a/b/manifests/{other.digest}"), 202)
    assert_status(call("GET", "/v2/a/b/manifests/v2"), 404)
    assert "ok       a/b:v1" in verify(server)[1]
    assert "Traceback" not in server.log
