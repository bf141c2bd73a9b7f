"""`repair --from`: what is damaged or missing here, and nothing else, out of what holds a copy."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from distserver.bundle.mending import find_gaps
from distserver.oci.digests import Digest
from distserver.registry.denied import Denial
from tests.bundle.archives import digest_of, docker_save, layout, make_image, write
from tests.bundle.site import Make, Site
from tests.bundle.test_load_registry import registry

A, B = make_image("a", 3000), make_image("b", 2000)
NAME = "team/a:v1"


def stored(site: Site, data: bytes) -> Path:
    digits = digest_of(data)[7:]
    return site.directory / "storage/blobs/sha256" / digits[:2] / digits


def spoil(site: Site, *contents: bytes) -> None:
    """Damage the first, lose the others, and let `verify` find it."""
    first, *others = contents
    stored(site, first).write_bytes(b"x" + first[1:])
    for data in others:
        stored(site, data).unlink()
    assert not site.whole()


def storage(root: Path) -> Path:
    other = Site(root / "other")
    other.push("any/name", "x", A)
    other.push("any/other", "x", B)
    return other.directory / "storage"


SOURCES: dict[str, Callable[[Path], Path]] = {
    "a bundle": lambda root: write(root, "tar", layout({NAME: A, "team/b:1": B})),
    "a layout": lambda root: write(root, "directory", layout({NAME: A, "team/b:1": B})),
    "a packed archive": lambda root: write(root, "gz", layout({NAME: A})),
    "a directory of archives": lambda root: write(root, "tar", layout({NAME: A})).parent,
    "another storage": storage,
    "a registry's directory": lambda root: registry(root / "r", {("x/y", "1"): A}),
}


@pytest.mark.parametrize("kind", SOURCES)
def test_what_is_damaged_or_missing_is_taken(site: Site, tmp_path: Path, kind: str) -> None:
    site.push("team/a", "v1", A)
    spoil(site, A.layer, A.config, A.manifest)
    (tmp_path / "sources").mkdir()
    source = SOURCES[kind](tmp_path / "sources")
    if kind == "a directory of archives":
        (source / "archive").rename(source / "a.tar")
        (source / "b.tar").write_bytes(b"no archive at all" * 100)
    done = site.run("repair", "--from", source)
    assert done.exit_code == 0, done.output
    assert done.output.count("mended sha256:") == 3
    assert site.whole()
    assert site.images() == {NAME: A.digest}, "nothing new became visible"
    assert not stored(site, B.layer).exists()
    (aside,) = (site.directory / "storage/trash/damaged").iterdir()
    assert aside.read_bytes() == b"x" + A.layer[1:]


@pytest.mark.parametrize("kind", ["tar", "gz"])
def test_a_docker_archive_mends_what_came_from_it(site: Site, tmp_path: Path, kind: str) -> None:
    archive = write(tmp_path, kind, docker_save("app:1"))
    site.do("load", archive)
    ((image, digest),) = site.images().items()
    blobs = sorted((site.directory / "storage/blobs/sha256").glob("*/*"))
    assert len(blobs) == 4
    for path in blobs:
        path.write_bytes(b"\0" * path.stat().st_size)
    assert not site.whole()
    done = site.run("repair", "--from", archive)
    assert done.exit_code == 0 and done.output.count("mended ") == 4, done.output
    assert site.whole() and site.images() == {image: digest}


def test_a_source_that_is_damaged_too_mends_the_rest(site: Site, make: Make) -> None:
    site.push("team/a", "v1", A)
    other = make("other")
    other.push("team/a", "v1", A)
    other.damage(A)
    spoil(site, A.layer, A.config)
    told = site.refused("repair", "--from", other.directory / "storage")
    assert f"still bad {digest_of(A.layer)}: {NAME}" in told
    assert digest_of(A.config) not in told
    assert stored(site, A.layer).read_bytes() == b"x" + A.layer[1:], "never a wrong byte instead"


def test_what_was_purged_or_nobody_needs_is_not_taken(site: Site, make: Make) -> None:
    site.push("team/a", "v1", A)
    site.push("team/b", "v1", B)
    other = make("other")
    for image in (A, B):
        other.push("x", "v1", image)
    spoil(site, A.layer, B.layer)
    site.registry.content.denied.add(Denial(Digest.of(A.layer)))
    site.registry.manifests.delete("team/b", Digest.parse(B.digest))
    site.registry.blobs.delete("team/b", Digest.of(B.layer))
    assert Digest.of(B.layer) not in find_gaps(site.registry)
    done = site.run("repair", "--from", other.directory / "storage")
    assert (done.exit_code, done.output) == (0, "")
    assert stored(site, A.layer).read_bytes() == b"x" + A.layer[1:]
    assert not stored(site, B.layer).exists()


def test_what_is_no_source_is_one_line(site: Site, tmp_path: Path) -> None:
    site.push("team/a", "v1", A)
    (tmp_path / "empty").mkdir()
    assert "no archive" in site.refused("repair", "--from", tmp_path / "empty")
