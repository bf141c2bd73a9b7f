"""`save`: what a bundle has, that it can be loaded again, deltas, parts, and what it refuses."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from distserver.bundle.lock import split_line
from distserver.oci.digests import Digest
from distserver.oci.names import Tag
from tests.bundle.archives import (
    NAMED,
    digest_of,
    entry,
    index_json,
    make_image,
    multi_arch,
    names,
    read,
    signature,
    write,
)
from tests.bundle.site import Make, Site

A, B = make_image("a", 5000), make_image("b", 70_000)
HUB = "docker.io/library/app"


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "out.tar"


def test_what_was_saved_is_loaded_again_under_the_same_names(
    site: Site, make: Make, out: Path
) -> None:
    site.push(HUB, "1", A)
    site.push("site/b", "V2", B)
    site.do("save", "app:1", "site/b:V2", "-o", out)
    assert names(out) == {f"{HUB}:1": A.digest, "distserver.internal/site/b:V2": B.digest}
    other = make("other")
    other.do("load", out)
    assert other.images() == site.images()
    assert other.whole()


def test_the_same_images_give_the_same_bytes(site: Site, make: Make, out: Path) -> None:
    site.push("a", "1", A)
    site.push("b", "1", B)
    site.do("save", "b:1", "a:1", "-o", out)
    other = make("other")
    other.push("b", "1", B)
    other.push("a", "1", A)
    again = out.with_name("again.tar")
    other.do("save", "--all", "-o", again)
    assert again.read_bytes() == out.read_bytes()
    assert (
        again.with_name("again.tar.lock").read_text() == out.with_name("out.tar.lock").read_text()
    )


def test_parts_are_smaller_than_asked_and_make_the_whole(site: Site, make: Make, out: Path) -> None:
    site.push("big", "1", make_image("big", 3 << 20))
    site.do("save", "big:1", "-o", out)
    split = out.with_name("split")
    site.do("save", "big:1", "-o", split, "--split", "1100K")
    parts = sorted(out.parent.glob("split.0*"))
    assert [part.name for part in parts] == ["split.001", "split.002", "split.003"]
    assert max(part.stat().st_size for part in parts) < 1100 << 10
    assert b"".join(part.read_bytes() for part in parts) == out.read_bytes()
    make("other").do("load", split)
    parts[-1].unlink()
    assert "a part is missing" in make("third").refused("load", parts[0])


def test_the_lock_file_lists_what_is_in_it(site: Site, out: Path) -> None:
    site.push("a", "1", A)
    site.do("save", "a:1", "-o", out)
    (line,) = [
        parsed
        for parsed in map(split_line, out.with_name("out.tar.lock").read_text().splitlines())
        if parsed
    ]
    size = sum(map(len, (*A.blobs, A.manifest)))
    assert line == (f"a:1@{A.digest}", (), size)


def _push_index(site: Site, tmp_path: Path, name: str = HUB) -> str:
    """Let a site have an index with two members of three."""
    body, files = multi_arch(A, B, missing=[make_image("c")])
    files["index.json"] = index_json({**entry(body), "annotations": {NAMED: f"{name}:1"}})
    site.do("load", write(tmp_path, "tar", files))
    return digest_of(body)


def test_an_index_stays_as_it_is_with_the_members_that_are_held(
    site: Site, make: Make, tmp_path: Path, out: Path
) -> None:
    digest = _push_index(site, tmp_path)
    site.do("save", "app:1", "-o", out)
    assert "linux/amd64 linux/arm64 " in out.with_name("out.tar.lock").read_text()
    make("other").do("load", out)
    assert make("other").images() == {f"{HUB}:1": digest}
    assert make("other").registry.manifests.has(HUB, Digest.parse(B.digest))


def test_members_for_some_platforms(site: Site, make: Make, tmp_path: Path, out: Path) -> None:
    digest = _push_index(site, tmp_path)
    site.do("save", "app:1", "-o", out, "--platform", "linux/arm64")
    other = make("other")
    other.do("load", out)
    assert other.images() == {f"{HUB}:1": digest}
    assert other.registry.manifests.digests(HUB) == {Digest.parse(digest), Digest.parse(B.digest)}
    new = out.with_name("new.tar")
    assert "not whole" in site.refused("save", "app:1", "-o", new, "--platform", "linux/s390x")
    assert "not here for" in site.refused("save", "app:1", "-o", new, "--platform", "linux/arm")
    assert not list(out.parent.glob("new.tar*"))


def test_signatures_and_referrers_go_along_and_are_no_images(
    site: Site, make: Make, out: Path
) -> None:
    site.push("a", "1", A)
    signed, noted = signature(A.manifest), signature(A.manifest, "application/vnd.test.note")
    on_note = signature(noted.manifest)
    tag = A.digest.replace(":", "-") + ".sig"
    for image, name in ((signed, tag), (noted, ""), (on_note, "")):
        site.push("a", name, image)
    site.do("save", "a:1", "-o", out)
    assert list(names(out)) == ["distserver.internal/a:1"]
    other = make("other")
    other.do("load", out)
    assert other.images()[f"a:{tag}"] == signed.digest
    found = other.registry.referrers.list("a", Digest.parse(A.digest))
    assert {each["digest"] for each in found} == {signed.digest, noted.digest}
    assert other.registry.manifests.has("a", Digest.parse(on_note.digest))
    again = out.with_name("again.tar")
    other.do("save", "--all", "-o", again)
    assert again.read_bytes() == out.read_bytes()


def test_a_delta_has_only_what_the_lock_file_does_not_list(
    site: Site, make: Make, out: Path
) -> None:
    site.push("a", "1", A)
    site.push("b", "1", B)
    site.do("save", "a:1", "-o", out)
    site.push("a", "2", B)
    delta = out.with_name("delta.tar")
    done = site.do("save", "--all", "-o", delta, "--since", out.with_name("out.tar.lock"))
    assert done["left_out_bytes"] == sum(map(len, A.blobs))
    other = make("other")
    said = other.refused("load", delta)
    assert "--since" in said
    assert digest_of(A.config) in said
    assert other.images() == {}
    other.do("load", out, delta)
    assert other.images() == site.images()
    assert other.whole()


def test_a_delta_over_platforms_leaves_out_what_those_imply(
    site: Site, make: Make, tmp_path: Path, out: Path
) -> None:
    _push_index(site, tmp_path)
    site.do("save", "app:1", "-o", out, "--platform", "linux/arm64")
    delta = out.with_name("delta.tar")
    site.do("save", "app:1", "-o", delta, "--since", out.with_name("out.tar.lock"))
    files = read(delta)
    assert f"blobs/sha256/{digest_of(B.layer)[7:]}" not in files
    assert f"blobs/sha256/{digest_of(A.layer)[7:]}" in files
    other = make("other")
    other.do("load", out, delta)
    assert other.registry.manifests.has(HUB, Digest.parse(A.digest))


def test_a_lock_file_of_what_is_not_here_leaves_out_nothing(site: Site, out: Path) -> None:
    site.push("a", "1", A)
    lock = out.with_name("their.lock")
    lock.write_text(f"gone:1@{B.digest} all 5\nx.example/y:1@{A.digest} linux/amd64 5\n")
    assert site.do("save", "a:1", "-o", out, "--since", lock)["left_out_bytes"] == 0


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        ([], 2, "name images"),
        (["a:1", "--all"], 2, "name images"),
        (["b:1"], 1, "is not here"),
        (["a:2"], 1, "is not here"),
        (["a:b:c"], 1, "grammar"),
        (["a:1", "--split", "5"], 2, "no size"),
        (["a:1", "--split", "x"], 2, "no size"),
        (["a:1", "--platform", "arm64"], 2, "os/architecture"),
        (["a:1", "--since", "/none"], 1, "No such file"),
        (["a:1", "--since", "/bin/sh"], 1, "no lock file"),
    ],
)
def test_what_cannot_be_saved(
    site: Site, out: Path, arguments: list[str], code: int, said: str
) -> None:
    site.push("a", "1", A)
    result = site.run("save", *arguments, "-o", out)
    assert (result.exit_code, said in result.stderr) == (code, True), result.stderr
    assert not list(out.parent.glob("out*"))


@pytest.mark.parametrize("there", ["out.tar", "out.tar.001", "out.tar.lock"])
def test_nothing_is_overwritten(site: Site, out: Path, there: str) -> None:
    site.push("a", "1", A)
    out.with_name(there).write_text("mine")
    assert "there already" in site.refused("save", "a:1", "-o", out)
    assert [path.name for path in out.parent.glob("out*")] == [there]


def test_a_damaged_layer_does_not_ship(site: Site, out: Path) -> None:
    site.push("a", "1", B)
    site.damage(B)
    assert digest_of(B.layer) in site.refused("save", "a:1", "-o", out)
    assert not list(out.parent.glob("out*"))


def test_an_image_that_is_not_whole_does_not_ship(site: Site, out: Path) -> None:
    site.push("a", "1", A)
    site.registry.blobs.delete("a", Digest.of(A.layer))
    assert digest_of(A.layer) in site.refused("save", "a:1", "-o", out)


def test_no_room(site: Site, out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    site.push("a", "1", B)
    usage = shutil.disk_usage(out.parent)._replace(free=5000)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    assert "0 MiB are free" in site.refused("save", "a:1", "-o", out)
    assert not list(out.parent.glob("out*"))


def test_a_digest_is_a_name_too(site: Site, make: Make, out: Path) -> None:
    site.push(HUB, "", A)
    site.do("save", f"{HUB}@{A.digest}", "-o", out)
    assert names(out) == {f"{HUB}@{A.digest}": A.digest}
    other = make("other")
    other.do("load", out)
    assert other.registry.manifests.has(HUB, Digest.parse(A.digest))
    assert other.registry.tags.names(HUB) == set[Tag]()
