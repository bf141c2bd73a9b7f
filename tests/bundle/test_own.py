"""`image save`: our own image as a file that nodes import, or in words why not."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from distserver import __version__
from distserver.bundle.saving.own import OWN_IMAGE, REPOSITORY
from tests.bundle.archives import (
    NAMED,
    digest_of,
    entry,
    index_json,
    make_image,
    multi_arch,
    names,
    write,
)
from tests.bundle.site import Make, Site

A, B = make_image("a", 5000), make_image("b", 70_000)


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The directory in which the commands run."""
    directory = tmp_path / "here"
    directory.mkdir()
    monkeypatch.chdir(directory)
    return directory


def said(site: Site, *arguments: str | Path) -> str:
    result = site.run("image", "save", *arguments)
    assert result.exit_code == 0, result.output
    return result.stdout


def test_it_is_saved_under_its_full_name_and_is_loaded_again(
    site: Site, make: Make, here: Path
) -> None:
    site.push(REPOSITORY, __version__, A)
    out = f"distserver-{__version__}-amd64.tar"
    assert said(site, "--arch", "amd64").endswith(f"in:\n  {out}\n")
    assert os.listdir(here) == [out]  # an importer of all files of a folder finds nothing else
    assert names(here / out) == {OWN_IMAGE: A.digest}
    other = make("other")
    other.do("load", here / out)
    assert other.images() == {f"{REPOSITORY}:{__version__}": A.digest}
    assert other.whole()


def test_of_an_index_one_member_is_saved_as_if_it_were_alone(
    site: Site, tmp_path: Path, here: Path
) -> None:
    body, files = multi_arch(A, B)
    files["index.json"] = index_json({**entry(body), "annotations": {NAMED: OWN_IMAGE}})
    site.do("load", write(tmp_path, "tar", files))
    said(site, "--arch", "arm64", "-o", here)
    assert names(here / f"distserver-{__version__}-arm64.tar") == {OWN_IMAGE: B.digest}
    assert "is held for amd64, arm64, not for s390x" in refused(site, "--arch", "s390x")


def refused(site: Site, *arguments: str | Path) -> str:
    return site.refused("image", "save", *arguments)


def test_who_has_it_not_is_told_how_to_get_it(site: Site, here: Path) -> None:
    site.push(REPOSITORY, "other", A)
    words = refused(site, "--arch", "arm64")
    assert f"{OWN_IMAGE} is not held here" in words
    assert f"distserver load distserver-{__version__}-arm64.tar" in words
    assert not os.listdir(here)


def test_for_another_architecture_it_is_not_saved(site: Site, here: Path) -> None:
    site.push(REPOSITORY, __version__, A)
    assert "is held for amd64, not for arm64: say --arch amd64" in refused(site, "--arch", "arm64")
    assert not os.listdir(here)


def test_one_that_is_there_stays(site: Site, here: Path) -> None:
    site.push(REPOSITORY, __version__, A)
    (here / "mine").write_text("mine")
    assert "is there already" in refused(site, "--arch", "amd64", "-o", "mine")
    assert (here / "mine").read_text() == "mine"
    assert "No such file or directory" in refused(site, "--arch", "amd64", "-o", "away/")


def test_a_damaged_one_leaves_nothing_behind(site: Site, here: Path) -> None:
    site.push(REPOSITORY, __version__, B)
    site.damage(B)
    assert digest_of(B.layer) in refused(site, "--arch", "amd64")
    assert not os.listdir(here)
