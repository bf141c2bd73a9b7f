"""Archives and lists with something in them that was purged: it is left out, and said so."""

from __future__ import annotations

from pathlib import Path

import pytest

from distserver.oci.digests import Digest
from distserver.registry.denied import Denial
from tests.bundle.archives import docker_save, layout, make_image, write
from tests.bundle.site import Site

A, B = make_image("a", 3000), make_image("b")
GOOD = "docker.io/library/good:1"


@pytest.fixture(autouse=True)
def fresh(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("distserver.registry.denied.FRESH_SECONDS", 0.0)


def deny(site: Site, data: bytes) -> str:
    digest = Digest.of(data)
    site.registry.content.denied.add(Denial(digest))
    return str(digest)


def held(site: Site) -> set[str]:
    return {path.name for path in (site.directory / "storage").glob("blobs/*/*/*")}


@pytest.mark.parametrize("part", ["layer", "config", "manifest"])
def test_the_other_images_of_an_archive_are_loaded(site: Site, tmp_path: Path, part: str) -> None:
    site.push("first", "1", B)
    digest = deny(site, getattr(A, part))
    path = write(tmp_path, "tar", layout({"quay.io/team/bad:1": A, GOOD: B}))
    said = site.refused("load", path)
    assert "quay.io/team/bad:1" in said
    assert f"{digest}: it was purged here" in said
    assert site.images() == {"first:1": B.digest, GOOD: B.digest}
    assert digest[7:] not in held(site)


def test_a_layer_of_a_docker_archive(site: Site, tmp_path: Path) -> None:
    site.push("first", "1", B)
    digest = deny(site, b"one")
    said = site.refused("load", write(tmp_path, "tar", docker_save("app:1", layers=[b"one"])))
    assert "purged here" in said
    assert digest[7:] not in held(site)


def test_save_says_that_it_is_not_whole(site: Site, tmp_path: Path) -> None:
    site.push("app", "1", A)
    digest = deny(site, A.layer)
    assert f"{digest}: it was purged here" in site.refused(
        "save", "app:1", "-o", tmp_path / "out.tar"
    )
    assert "purged   app:1" in site.run("verify").stdout
    assert site.run("verify").exit_code == 0
