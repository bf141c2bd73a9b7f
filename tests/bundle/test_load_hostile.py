"""Archives that are cut, damaged or made to harm: one line each, and nothing to be seen."""

from __future__ import annotations

import gzip
import json
import os
import tarfile
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import pytest
import zstandard

from distserver.bundle.errors import BundleError
from distserver.bundle.loading.streams import open_stream
from distserver.bundle.loading.tar import MAX_EXTENSION_BYTES, read_tar
from tests.bundle.archives import (
    NAMED,
    docker_save,
    entry,
    index_json,
    layout,
    make_image,
    member,
    tar,
)
from tests.bundle.site import Site

A = make_image("a", 3000)
APP = "docker.io/library/app:1"
GOOD = layout({APP: A})
DOCKER = docker_save("app:1")


def _info(name: str, size: int = 0, **more: object) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.size = size
    for key, value in more.items():
        setattr(info, key, value)
    return info


def _config_of(files: dict[str, bytes]) -> str:
    return str(json.loads(files["manifest.json"])[0]["Config"])


def _listed(**fields: object) -> bytes:
    """A manifest.json whose only line has other fields."""
    line = json.loads(DOCKER["manifest.json"])[0]
    return json.dumps([line | fields]).encode()


def _described(**fields: object) -> bytes:
    """An index.json whose only line has other fields."""
    return index_json({**entry(A.manifest), "annotations": {NAMED: APP}, **fields})


def _pax(**headers: str) -> bytes:
    """A layout in which one member has extended headers."""
    return tar(GOOD, (_info("x", 3, pax_headers=headers), b"abc"))


def _patched(header_of: bytes, at: int, text: bytes) -> bytes:
    """A layout with bytes of a member's header changed, its checksum made right again."""
    data = bytearray(tar(GOOD))
    start = data.index(header_of)
    data[start + at : start + at + len(text)] = text
    block = bytearray(data[start : start + 512])
    block[148:156] = b" " * 8
    data[start + 148 : start + 156] = b"%06o\0 " % sum(block)
    return bytes(data)


LAYER = next(name for name in GOOD if len(GOOD[name]) == 3000)
WRONG = {**GOOD, LAYER: b"x" + A.layer[1:]}
SPARSE = b"GNU.sparse.major"
CASES: dict[str, tuple[Callable[[], bytes], str]] = {
    "empty": (lambda: b"", "ends early"),
    "no tar": (lambda: b"hello " * 1000, "no tar archive"),
    "xz": (lambda: b"\xfd7zXZ\0" + bytes(600), "packed with xz"),
    "nothing in it": (lambda: tar({}), "no archive of images"),
    "other files": (lambda: tar({"etc/passwd": b"root"}), "no archive of images"),
    "cut in a member": (lambda: tar(GOOD)[:2500], "ends"),
    "cut at the end": (lambda: tar(GOOD).rstrip(b"\0")[:-1], "ends"),
    "cut gzip": (lambda: gzip.compress(tar(GOOD))[:-900], "ends early"),
    "damaged gzip": (lambda: _flipped(gzip.compress(tar(GOOD))), "damaged"),
    "cut zstd": (lambda: zstandard.compress(tar(GOOD))[:-900], "ends early"),
    "damaged zstd": (lambda: zstandard.compress(tar(GOOD))[:8] + b"\xff" * 900, "damaged"),
    "zstd that wants memory": (lambda: _wide(), "damaged"),
    "header damaged": (lambda: b"x" + tar(GOOD)[1:], "damaged"),
    "negative size": (lambda: _patched(b"index.json", 124, b"\xff" * 12), "negative size"),
    "size of 2^80": (lambda: _patched(b"index.json", 124, b"\x80" + b"\xff" * 11), "proper size"),
    "wrong bytes": (lambda: tar(WRONG), "has the digest"),
    "layer is missing": (lambda: tar({k: v for k, v in GOOD.items() if k != LAYER}), "1 parts"),
    "manifest is missing": (lambda: tar({"index.json": GOOD["index.json"]}), "manifest is missing"),
    "manifest is no manifest": (
        lambda: tar(layout({APP: A.__class__(A.config, A.layer, b'{"mediaType": "x"}')})),
        "schemaVersion",
    ),
    "dots": (lambda: tar({**GOOD, "a/../../x": b""}), "forbidden name"),
    "absolute": (lambda: tar({**GOOD, "/etc/x": b""}), "forbidden name"),
    "long name": (lambda: tar({**GOOD, "x/" * 2000: b""}), "forbidden name"),
    "control characters": (lambda: tar({**GOOD, "../\x1b[2J\n": b""}), "forbidden name"),
    "link out of it": (
        lambda: tar(GOOD, member("l", tarfile.SYMTYPE, "../../etc/shadow")),
        "leads out",
    ),
    "absolute link": (lambda: tar(GOOD, member("l", tarfile.SYMTYPE, "/etc/shadow")), "leads out"),
    "hard link out of it": (lambda: tar(GOOD, member("l", tarfile.LNKTYPE, "/etc")), "leads out"),
    "loop of links": (
        lambda: tar(
            {k: v for k, v in DOCKER.items() if "layer" not in k},
            *(member(k, tarfile.LNKTYPE, k) for k in DOCKER if "layer" in k),
        ),
        "is missing in it",
    ),
    "device": (lambda: tar(GOOD, member("d", tarfile.CHRTYPE)), "device"),
    "pipe": (lambda: tar(GOOD, member("d", tarfile.FIFOTYPE)), "pipe"),
    "sparse of GNU": (lambda: tar(GOOD, member("d", tarfile.GNUTYPE_SPARSE)), "sparse"),
    "sparse of pax": (lambda: _pax(**{SPARSE.decode(): "1"}), "sparse"),
    "pax with a wrong size": (lambda: _pax(size="-5"), "proper size"),
    "pax too large": (lambda: _pax(comment="x" * MAX_EXTENSION_BYTES), "extended header"),
    "index twice": (
        lambda: tar(GOOD, (_info("index.json", 2), b"{}")),
        "twice",
    ),
    "index too large": (lambda: tar({**GOOD, "index.json": b" " * (5 << 20)}), "too large"),
    "index no JSON": (lambda: tar({**GOOD, "index.json": b"{"}), "not JSON"),
    "index nested deeply": (lambda: tar({**GOOD, "index.json": b"[" * 100_000}), "too deeply"),
    "index says a wrong size": (
        lambda: tar({**GOOD, "index.json": _described(size=5)}),
        "manifest is missing",
    ),
    "index says another type": (
        lambda: tar({**GOOD, "index.json": _described(mediaType="application/x")}),
        "mediaType",
    ),
    "manifest says a wrong size": (lambda: tar(_lying()), "wrong size"),
    "docker: no list": (lambda: tar({"manifest.json": b"{}"}), "not one of docker"),
    "docker: no config": (lambda: tar({"manifest.json": b"[{}]"}), "not one of docker"),
    "docker: numbers": (lambda: tar({**DOCKER, "manifest.json": b"[1]"}), "not one of docker"),
    "docker: a layer less": (
        lambda: tar({**DOCKER, "manifest.json": _listed(Layers=[])}),
        "has 2 layers",
    ),
    "docker: another file": (
        lambda: tar({**DOCKER, "manifest.json": _listed(Config="/etc/passwd")}),
        "is missing in it",
    ),
    "docker: wrong layer": (
        lambda: tar({k: b"no" if "layer" in k else v for k, v in DOCKER.items()}),
        "not the layer",
    ),
    "docker: wrong config": (
        lambda: tar({**DOCKER, _config_of(DOCKER): b"{}"}),
        "another digest",
    ),
    "docker: no config at all": (
        lambda: tar({**DOCKER, "c": b"[]", "manifest.json": _listed(Config="c")}),
        "no configuration",
    ),
    "docker: a layer twice": (lambda: _twice(), "twice"),
}


def _flipped(data: bytes) -> bytes:
    return data[:300] + bytes([data[300] ^ 255]) + data[301:]


def _wide() -> bytes:
    """A frame that asks for a window of 1 GiB."""
    parameters = zstandard.ZstdCompressionParameters.from_level(1, window_log=30)
    packer = zstandard.ZstdCompressor(compression_params=parameters).compressobj()
    return packer.compress(tar(GOOD)) + packer.flush()


def _lying() -> dict[str, bytes]:
    manifest = json.loads(A.manifest)
    manifest["layers"][0]["size"] = 10**15
    lying = A.__class__(A.config, A.layer, json.dumps(manifest).encode())
    return layout({APP: lying})


def _twice() -> bytes:
    name = next(name for name in DOCKER if "layer" in name)
    return tar(DOCKER, (_info(name, 2), b"no"))


@pytest.mark.parametrize("case", CASES)
def test_one_line_and_nothing_to_be_seen(site: Site, tmp_path: Path, case: str) -> None:
    build, said = CASES[case]
    path = tmp_path / "x.tar"
    path.write_bytes(build())
    assert said in site.refused("load", path)
    assert site.images() == {}
    assert not list((site.directory / "storage").glob("repositories/**/*"))
    assert not [p for p in (site.directory / "storage").glob("tmp/*")]
    # What of it was good may be kept for the next try, and that succeeds.
    path.write_bytes(tar(GOOD))
    site.do("load", path)
    assert site.whole()


@pytest.mark.parametrize("cut", range(0, 12_000, 400))
def test_cut_anywhere(site: Site, tmp_path: Path, cut: int) -> None:
    data = tar(GOOD)[:-10240].rstrip(b"\0") + bytes(2048)
    path = tmp_path / "x.tar"
    path.write_bytes(data[: min(cut, len(data) - 1536)])
    site.refused("load", path)
    assert site.images() == {}


def test_a_bomb_is_refused_before_a_byte_of_it_is_written(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """64 MiB in 64 KiB, where there is room for 32."""
    bomb = tar(GOOD, (_info("blobs/sha256/" + "0" * 64, 64 << 20), bytes(64 << 20)))
    path = tmp_path / "x.tgz"
    path.write_bytes(gzip.compress(bomb))
    real = os.fstatvfs

    def small(fd: int) -> os.statvfs_result:
        found = list(real(fd))
        found[4] = (32 << 20) // found[1]
        return os.statvfs_result(found)

    monkeypatch.setattr(os, "fstatvfs", small)
    assert "there is room for 32 MiB" in site.refused("load", path)
    assert not list((site.directory / "storage").glob("blobs/*"))


def test_memory_stays_small_whatever_a_member_says(tmp_path: Path) -> None:
    """A name and a pax header of 1 GiB, and a thousand times what is in the file."""
    for kind in (tarfile.GNUTYPE_LONGNAME, tarfile.XHDTYPE):
        path = tmp_path / "x.tgz"
        header = _info("x", 1 << 30, type=kind).tobuf(tarfile.GNU_FORMAT)
        path.write_bytes(gzip.compress(header + bytes(64 << 20)))
        tracemalloc.start()
        try:
            with pytest.raises(BundleError, match="extended header"), open_stream(path) as stream:
                list(read_tar(stream))
            assert tracemalloc.get_traced_memory()[1] < 8 << 20
        finally:
            tracemalloc.stop()


def test_configurations_that_fill_the_memory_are_refused(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "distserver.bundle.loading.archive.MAX_READ_BYTES", len(DOCKER["manifest.json"])
    )
    one, two = docker_save("a:1"), docker_save("b:1", layers=(b"three",))
    lines = json.loads(one["manifest.json"]) + json.loads(two["manifest.json"])
    path = tmp_path / "x.tar"
    path.write_bytes(tar({**one, **two, "manifest.json": json.dumps(lines[:1]).encode()}))
    site.do("load", path)
    path.write_bytes(tar({**one, **two, "manifest.json": json.dumps(lines).encode()}))
    assert "too large" in site.refused("load", path)


def test_a_pipe_is_refused_rather_than_waited_for(site: Site, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    assert "no regular file" in site.refused("load", tmp_path / "pipe")
    (tmp_path / "layout" / "blobs" / "sha256").mkdir(parents=True)
    os.mkfifo(tmp_path / "layout" / "blobs" / "sha256" / ("0" * 64))
    (tmp_path / "layout" / "index.json").write_bytes(GOOD["index.json"])
    assert "manifest is missing" in site.refused("load", tmp_path / "layout")


def test_a_link_in_a_directory_is_not_followed(site: Site, tmp_path: Path) -> None:
    root = tmp_path / "layout"
    for name, data in GOOD.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(data)
    (root / LAYER).unlink()
    outside = tmp_path / "outside"
    outside.write_bytes(A.layer)
    (root / LAYER).symlink_to(outside)
    assert "1 parts are neither" in site.refused("load", root)


def test_nothing_of_a_broken_archive_is_shown_though_some_images_are_whole(
    site: Site, tmp_path: Path
) -> None:
    other = make_image("other")
    files = layout({APP: A, "b:1": other})
    path = tmp_path / "x.tar"
    path.write_bytes(tar({k: v for k, v in files.items() if v != other.config}))
    site.refused("load", path)
    assert site.images() == {}
    path.write_bytes(tar(files))
    done = site.do("load", path)
    assert done["written_bytes"] == len(other.config)
