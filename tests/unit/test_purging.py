"""What was purged is erased wherever it lies, and whenever it comes back."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from backends import Backend, Filesystem, Memory, ReplicaSet, initialise, put
from backends.errors import Unavailable
from backends.replica.repair import Round
from distserver import app
from distserver.cli import main
from distserver.cli import purge as command
from distserver.config import Config
from distserver.oci.digests import Digest
from distserver.oci.errors import Purged
from distserver.oci.names import Tag
from distserver.registry import Registry, layout, local_registry, purging, verify
from distserver.registry.denied import Denial
from tests.backends.members import Site
from tests.faults.images import TYPE, make_image
from tests.live import wait_for

SPILLED, OTHER = make_image("spilled", 1_500_000), make_image("other")
LAYER, MANIFEST = Digest.of(SPILLED.layer), Digest.of(SPILLED.manifest)
NAME = "a/b"


@pytest.fixture(autouse=True)
def fresh(monkeypatch: pytest.MonkeyPatch) -> None:
    """The list is read at each question, and nobody waits until the others have."""
    monkeypatch.setattr("distserver.registry.denied.FRESH_SECONDS", 0.0)
    monkeypatch.setattr(command, "HEARD_SECONDS", 0.0)


def pushed(registry: Registry) -> Registry:
    for image, tag in ((SPILLED, Tag("v1")), (OTHER, Tag("other"))):
        for blob in image.blobs:
            registry.blobs.put(NAME, Digest.of(blob), [blob])
        registry.manifests.put(NAME, None, [tag], image.manifest, TYPE)
    return registry


def trashed(backend: Backend) -> set[str]:
    """Copies of the layer in the trash, and what lies beside them there; the latter."""
    for start in layout.in_trash(LAYER):
        put(backend, f"{start}run", SPILLED.layer)
    near = LAYER.hex[:2] + "f" * 62
    others = {start + "run" for start in layout.in_trash(Digest("sha256", near))}
    for key in others:
        put(backend, key, b"another")
    return others


def with_bytes(backend: Backend, data: bytes) -> list[str]:
    """The keys of all entries with such bytes in them."""
    found = []
    for key in backend.keys(""):
        with backend.open(key) as reader:
            if data in reader.read():
                found.append(key)
    return found


def purge(registry: Registry, *digests: Digest) -> None:
    """As the command does."""
    for digest in digests:
        registry.content.denied.add(Denial(digest))
        purging.erase_content(registry.backend, digest)
    purging.remove_records(registry.backend, registry.records, digests)


def test_nothing_of_it_is_left_and_nothing_else_goes() -> None:
    backend = Memory()
    registry = pushed(local_registry(backend))
    before, others = set(backend.keys("blobs/")), trashed(backend)
    purge(registry, LAYER)
    assert with_bytes(backend, SPILLED.layer[:1000]) == []
    assert before - set(backend.keys("blobs/")) == {layout.blob(LAYER)}
    assert list(backend.keys("chunks/")) == []
    assert set(backend.keys("trash/")) == others
    assert registry.tags.all(NAME).keys() == {"v1", "other"}


def test_a_purged_manifest_is_on_no_list_any_more() -> None:
    registry = pushed(local_registry(Memory()))
    purge(registry, MANIFEST)
    assert registry.tags.all(NAME).keys() == {"other"}
    assert registry.manifests.digests(NAME) == {Digest.of(OTHER.manifest)}


@pytest.fixture
def files(tmp_path: Path) -> Iterator[Filesystem]:
    (tmp_path / "storage").mkdir()
    backend = Filesystem(tmp_path / "storage", reserve_bytes=0)
    initialise(backend)
    yield backend


def test_a_file_that_is_copied_back_is_never_served_and_goes_with_the_next_sweep(
    files: Filesystem, tmp_path: Path
) -> None:
    """As Syncthing, rsync or a restored backup bring it."""
    registry = pushed(local_registry(files))
    key = files.local_path(layout.blob(LAYER))
    shutil.copy(key, tmp_path / "kept")
    purge(registry, LAYER)
    assert purging.sweep(files, registry.content.denied) == 0
    Path(key).parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(tmp_path / "kept", key)
    trashed(files)
    for server in (registry, local_registry(files)):
        with pytest.raises(Purged):
            server.blobs.find(NAME, LAYER)
        with pytest.raises(Purged):
            server.content.open(LAYER)
    (back,) = [one for one in verify.contents(registry) if one.purged]
    assert (back.digest, back.problem) == (LAYER, None)
    assert purging.sweep(files, registry.content.denied) == 1
    assert with_bytes(files, SPILLED.layer[:1000]) == []


def test_verify_reports_it_as_purged_not_as_damage(files: Filesystem) -> None:
    registry = pushed(local_registry(files))
    purge(registry, LAYER)
    assert [one.problem for one in verify.contents(registry)] == [None] * 5
    images = {one.name: one for one in verify.images(registry, {})}
    assert [str(one) for one in images[f"{NAME}:v1"].purged] == [f"{LAYER}: {verify.PURGED}"]
    assert not any(one.problems for one in images.values())
    assert not images[f"{NAME}:other"].purged


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


def settled(storage: ReplicaSet, site: Site) -> None:
    """Work on hints until all members are equal."""

    def is_equal() -> bool:
        storage.tend()
        return site.equal

    wait_for(is_equal, 20, "equal members")


def test_a_member_that_was_away_loses_it_when_it_is_back(site: Site) -> None:
    storage = site.open()
    registry = pushed(local_registry(storage))
    settled(storage, site)
    site.break_(2, "refused")
    purge(registry, LAYER, MANIFEST)
    assert layout.blob(LAYER) in site.keys(2)
    for number in (0, 1):
        assert with_bytes(Filesystem(site.roots[number]), SPILLED.layer[:1000]) == []
    site.mend()
    with pytest.raises(Purged):
        local_registry(site.open()).content.open(LAYER)
    settled(storage, site)
    for root in site.roots:
        assert with_bytes(Filesystem(root), SPILLED.layer[:1000]) == []
        assert layout.denied(LAYER) in set(Filesystem(root).keys(layout.DENY))


def test_a_copy_that_only_a_member_has_that_is_away_goes_too(site: Site) -> None:
    storage = site.open()
    registry = pushed(local_registry(storage))
    settled(storage, site)
    keys = {layout.blob(LAYER), layout.chunks(LAYER)}
    for root in site.roots[:2]:
        for key in keys:
            Filesystem(root).delete(key)
    site.break_(2, "refused")
    purge(registry, LAYER)
    assert keys <= site.keys(2)
    site.mend()
    settled(storage, site)
    assert not keys & site.keys(2)


def test_a_repair_that_spreads_it_again_is_undone_and_brings_the_entry_too(site: Site) -> None:
    """A member whose hints were lost has the bytes, and not the entry."""
    storage = site.open()
    registry = pushed(local_registry(storage))
    purge(registry, LAYER)
    settled(storage, site)
    behind = Filesystem(site.roots[2])
    put(behind, layout.blob(LAYER), SPILLED.layer)
    behind.delete(layout.denied(LAYER))
    list(storage.repair.look(Round()))
    assert layout.blob(LAYER) in site.keys(0)
    assert layout.denied(LAYER) in site.keys(2)
    with pytest.raises(Purged):
        registry.content.open(LAYER)
    assert purging.sweep(storage, registry.content.denied) == 1
    for root in site.roots:
        assert with_bytes(Filesystem(root), SPILLED.layer[:1000]) == []


def test_it_is_refused_where_too_few_members_can_be_told(site: Site) -> None:
    registry = pushed(local_registry(site.open()))
    for number in (1, 2):
        site.break_(number, "refused")
    with pytest.raises(Unavailable):
        purge(registry, LAYER)


@pytest.fixture
def config(tmp_path: Path) -> Config:
    members = tuple(str(tmp_path / name) for name in "abc")
    return Config(storage=members, state=str(tmp_path / "state"), reserve_bytes=0)


def run(config: Config, *arguments: str, text: str = "", code: int = 0) -> str:
    places = [flag for place in config.storage for flag in ("--storage", place)]
    command = ["purge", *arguments, *places, "--state", config.state]
    result = CliRunner().invoke(main, command, input=text)
    assert result.exit_code == code, result.output
    return result.output


def test_the_command_says_what_it_touches_asks_and_names_the_member_that_is_away(
    config: Config, tmp_path: Path
) -> None:
    app.initialise_storage(config)
    pushed(app.open_registry(config))
    asked = run(config, "--digest", str(LAYER), text="n\n", code=1)
    assert f"touches {NAME}:v1" in asked
    assert run(config, "--list") == ""
    (tmp_path / "c").rename(tmp_path / "gone")
    partial = tmp_path / "state" / "partial" / "up" / f"sha256-{LAYER.hex}"
    partial.mkdir(parents=True)
    (partial / "data").write_bytes(SPILLED.layer[:9999])
    (partial / "lock").write_bytes(b"")
    copy = tmp_path / "state" / "hot" / f"sha256-{LAYER.hex}"
    copy.parent.mkdir(exist_ok=True)
    copy.write_bytes(SPILLED.layer)
    done = run(config, "--digest", str(LAYER), "--reason", "ticket 4711", "--yes")
    assert f"{tmp_path / 'c'} is away" in done
    assert done.index("denied") < done.index("touches") < done.index("purged")
    assert not partial.exists()
    assert not copy.exists()
    for name in "ab":
        member = Filesystem(tmp_path / name)
        assert with_bytes(member, SPILLED.layer[:1000]) == []
    listed = run(config, "--list")
    assert str(LAYER) in listed
    assert "ticket 4711" in listed


def test_the_command_undoes_an_entry(config: Config) -> None:
    app.initialise_storage(config)
    pushed(app.open_registry(config))
    run(config, "--digest", str(LAYER), "--yes")
    assert "was not purged" in run(config, "--allow", str(MANIFEST), code=1)
    assert run(config, "--allow", str(LAYER)) == f"allowed {LAYER}\n"
    registry = app.open_registry(config)
    registry.blobs.put(NAME, LAYER, [SPILLED.layer])
    assert registry.blobs.size(NAME, LAYER) == len(SPILLED.layer)


@pytest.mark.parametrize("arguments", [(), ("--list", "--allow", str(LAYER))])
def test_the_command_wants_one_task(config: Config, arguments: tuple[str, ...]) -> None:
    assert "say one of" in run(config, *arguments, code=2)
