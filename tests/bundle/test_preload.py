"""Preloading into this node's storage: what is asked, what is served afterwards, what is told."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from backends import open_backend
from distserver import app
from distserver.bundle.lock import split_line
from distserver.bundle.preloading import preload as engine
from distserver.cli import main
from distserver.evicting.pins import Pins
from distserver.oci.digests import Digest
from distserver.proxy.upstream import breaker
from distserver.registry.denied import Denial, DenyList
from tests.proxy.scripted import Asked, Reply
from tests.proxy.world import CONFIG, LAYER, World, descriptor, digest, image, index, world

NAME, HERE = "up.site/team/app", "/v2/up.site/team/app"
ARM = b"arm" * 1000


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "PAUSE_SECONDS", 0.05)
    monkeypatch.setattr(engine, "TICK_SECONDS", 0.01)
    monkeypatch.setattr(breaker, "FIRST_PAUSE_SECONDS", 0.05)
    monkeypatch.setattr(breaker, "LONGEST_PAUSE_SECONDS", 0.05)


@pytest.fixture
def w(tmp_path: Path) -> Iterator[World]:
    """An upstream with team/app:v1 for two platforms."""
    with world(tmp_path) as made:
        made.blobs[digest(ARM)] = ARM
        made.tag("amd64", image()), made.tag("arm64", image(ARM))
        made.tag("v1", index(amd64=image(), arm64=image(ARM)))
        yield made
        made.switch(None)  # the command's watch of the mode lives as long as this process


def preload(w: World, *arguments: str, text: str = "", **env: str) -> Result:
    """Run the command beside the world's server, with its configuration."""
    config = w.state.parent / "config.toml"
    config.write_text(
        f'storage = "{w.state.parent / "storage"}"\nstate = "{w.state}"\nreserve_bytes = 0\n'
        f'[upstream."up.site"]\nurl = ["{w.upstream.url}"]\ninsecure = true\n'
    )
    given = {"DISTSERVER_CONFIG": str(config), **env}
    result = CliRunner().invoke(main, ["preload", *arguments], input=text, env=given)
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


def served(w: World, reference: str, *blobs: bytes) -> bool:
    """Whether an image is served with these blobs while its upstream is away."""
    w.down = 503
    try:
        if w.get(f"{HERE}/manifests/{reference}")[0] != 200:
            return False
        return all(w.get(f"{HERE}/blobs/{digest(b)}")[:2] == (200, b) for b in blobs)
    finally:
        w.down = 0


def asked(w: World) -> list[tuple[str, str]]:
    """What the upstream was asked since the last call."""
    found = [(one.method, one.path.removeprefix("/v2/team/app/")) for one in w.upstream.asked]
    w.upstream.asked.clear()
    return found


def test_what_was_purged_is_left_out_and_the_rest_comes(
    w: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("distserver.registry.denied.FRESH_SECONDS", 0.0)
    denied = DenyList(open_backend(str(w.state.parent / "storage")))
    denied.add(Denial(Digest.of(ARM)))
    done = preload(w, f"{NAME}:arm64", f"{NAME}:amd64")
    assert done.exit_code == 1
    assert f"{digest(ARM)}: it was purged here" in done.output
    assert ("GET", f"blobs/{digest(ARM)}") not in asked(w)
    assert served(w, "amd64", CONFIG, LAYER)


def test_what_is_preloaded_is_served_by_tag_and_by_every_digest(w: World) -> None:
    done = preload(w, f"{NAME}:v1", "--platform", "linux/amd64", "--platform", "linux/arm64")
    assert done.exit_code == 0, done.output
    assert f"ok       {NAME}:v1  linux/amd64 linux/arm64" in done.output
    for reference in ("v1", digest(w.manifests["v1"]), digest(image()), digest(image(ARM))):
        assert served(w, reference, CONFIG, LAYER, ARM), reference
    assert not list(w.state.glob("begun/*/*/*.json"))
    assert not list(w.state.glob("partial/*/*"))


def test_what_is_preloaded_is_pinned_also_what_did_not_come_yet(w: World) -> None:
    by_digest = f"{NAME}@{digest(image())}"
    preload(w, f"{NAME}:v1", f"{NAME}:missing", by_digest)
    registry = app.open_registry(w.app.extensions["distserver.config"])
    pins = Pins(registry.backend, registry.records).all()
    assert pins == sorted([f"{NAME}:v1", f"{NAME}:missing", by_digest])


def test_a_second_run_asks_one_head_a_tag_and_nothing_a_digest(w: World) -> None:
    pinned = f"{NAME}@{digest(w.manifests['v1'])}"
    assert preload(w, f"{NAME}:v1", "--platform", "all").exit_code == 0
    asked(w)
    done = preload(w, f"{NAME}:v1", pinned, "--platform", "all")
    assert done.exit_code == 0, done.output
    assert asked(w) == [("HEAD", "manifests/v1")]
    assert "held" in done.output


def test_one_platform_is_enough_and_brings_no_other(w: World) -> None:
    assert preload(w, f"{NAME}:v1", "--platform", "linux/arm64").exit_code == 0
    assert served(w, "v1", ARM)
    assert digest(LAYER) not in str(asked(w))


def test_without_a_platform_the_configured_ones_come_else_this_machine(w: World) -> None:
    assert preload(w, f"{NAME}:v1", DISTSERVER_PLATFORMS="linux/arm64").exit_code == 0
    assert digest(LAYER) not in str(asked(w))
    assert preload(w, f"{NAME}:v1").exit_code == 0
    assert digest(LAYER) in str(asked(w))  # this machine's


def test_a_platform_that_an_index_lacks_is_named_with_those_there_are(w: World) -> None:
    done = preload(w, f"{NAME}:v1", "--platform", "linux/arm64", "--platform", "linux/riscv64")
    assert done.exit_code == 1
    assert "none for linux/riscv64; there is: linux/amd64, linux/arm64" in done.output
    assert served(w, "v1", ARM)
    done = preload(w, f"{NAME}:v1", "--platform", "linux/s390x")
    assert done.exit_code == 1
    assert digest(LAYER) not in str(asked(w))


def test_a_single_manifest_comes_whatever_the_platform(w: World) -> None:
    done = preload(w, f"{NAME}:arm64", "--platform", "linux/amd64")
    assert f"ok       {NAME}:arm64  all" in done.output
    assert served(w, "arm64", ARM)


def test_what_attests_a_member_comes_with_it(w: World) -> None:
    statement = b"statement"
    w.blobs[digest(statement)] = statement
    members = {"amd64": image(), "arm64": image(ARM)}
    top = json.loads(index(**members))
    for manifest in members.values():
        kept = w.tag("attests", image(statement, annotations={"of": digest(manifest)}))
        note = {"vnd.docker.reference.digest": digest(manifest)}
        platform = {"os": "unknown", "architecture": "unknown"}
        entry = descriptor(kept, top["manifests"][0]["mediaType"], platform=platform)
        top["manifests"].append({**entry, "annotations": note})
    w.tag("v1", json.dumps(top).encode())
    assert preload(w, f"{NAME}:v1", "--platform", "linux/arm64").exit_code == 0
    assert served(w, top["manifests"][3]["digest"], statement)
    assert top["manifests"][2]["digest"] not in str(asked(w))
    done = preload(w, f"{NAME}:v1", "--platform", "linux/s390x")
    assert "unknown" not in done.output


def test_signatures_and_referrers_come_with_their_blobs(w: World) -> None:
    said, top = [b"signature", b"sbom"], digest(w.manifests["v1"])
    w.blobs.update((digest(blob), blob) for blob in said)
    w.tag(f"{top.replace(':', '-')}.sig", image(said[0]))
    subject = descriptor(w.manifests["v1"], json.loads(w.manifests["v1"])["mediaType"])
    referrer = w.tag("referrer", image(said[1], subject=subject))
    w.referrers[top] = [{"digest": digest(referrer)}]
    assert preload(w, f"{NAME}:v1", "--platform", "all").exit_code == 0
    assert served(w, f"{top.replace(':', '-')}.sig", *said)
    w.down = 503
    assert digest(referrer) in w.get(f"{HERE}/referrers/{top}")[1].decode()


def test_a_lock_file_brings_exactly_what_it_names(w: World, tmp_path: Path) -> None:
    lock, old = tmp_path / "site.lock", digest(w.manifests["v1"])
    done = preload(w, f"{NAME}:v1", "--platform", "linux/arm64", "--lock", str(lock))
    assert done.exit_code == 0
    size = len(w.manifests["v1"]) + len(image(ARM)) + len(ARM) + len(CONFIG)
    line = lock.read_text().splitlines()[1]
    assert split_line(line) == (f"{NAME}:v1@{old}", ("linux/arm64",), size)
    w.tag("v1", image(b"newer"))
    w.blobs[digest(b"newer")] = b"newer"
    assert preload(w, f"{NAME}:v1").exit_code == 0
    assert w.get(f"{HERE}/manifests/v1")[1] == image(b"newer")
    asked(w)
    done = preload(w, "--from", str(lock), "--lock", str(tmp_path / "again.lock"))
    assert done.exit_code == 0
    assert asked(w) == []
    assert (tmp_path / "again.lock").read_text() == lock.read_text()
    assert digest(w.get(f"{HERE}/manifests/v1")[1]) == old


def test_a_tag_moves_only_when_all_of_the_new_image_is_here(w: World) -> None:
    assert preload(w, f"{NAME}:amd64").exit_code == 0
    w.tag("amd64", image(b"lost"))  # a layer that the upstream does not have
    done = preload(w, f"{NAME}:amd64")
    assert done.exit_code == 1
    assert "the upstream does not have it (404)" in done.output
    w.down = 503
    assert w.get(f"{HERE}/manifests/amd64")[1] == image()


def test_an_upstream_that_does_not_tell_the_digest_of_a_tag_is_read(w: World) -> None:
    script = w.script

    def silent(one: Asked) -> Reply:
        status, headers, body = script(one)
        return status, {k: v for k, v in headers.items() if k != "Docker-Content-Digest"}, body

    w.script = silent  # type: ignore[method-assign]
    assert preload(w, f"{NAME}:amd64").exit_code == 0
    w.tag("amd64", image(ARM))
    assert preload(w, f"{NAME}:amd64").exit_code == 0
    assert served(w, "amd64", ARM)
    assert w.get(f"{HERE}/manifests/amd64")[1] == image(ARM)


def test_a_tag_that_was_pushed_here_stays(w: World) -> None:
    own = image(b"own")
    for blob in (b"own", CONFIG):
        path = f"{HERE}/blobs/uploads/?digest={digest(blob)}"
        assert w.get(path, "POST", data=blob)[0] == 201
    kind = json.loads(own)["mediaType"]
    assert w.get(f"{HERE}/manifests/v1", "PUT", data=own, content_type=kind)[0] == 201
    asked(w)
    done = preload(w, f"{NAME}:v1")
    assert done.exit_code == 0
    assert "pushed here" in done.output
    assert asked(w) == []


def test_what_fails_is_named_and_the_rest_comes(w: World) -> None:
    done = preload(w, f"{NAME}:none", f"{NAME}:v1", "up.site/no/thing:v1")
    assert done.exit_code == 1
    assert f"MISSING  {NAME}:none: the upstream does not have it (404)" in done.output
    assert "MISSING  up.site/no/thing:v1: the upstream does not have it (404)" in done.output
    assert "1 of 3 images are complete" in done.output
    assert served(w, "v1", LAYER)


def test_a_held_tag_is_complete_also_when_its_upstream_is_away(w: World) -> None:
    assert preload(w, f"{NAME}:v1").exit_code == 0
    w.down = 503
    done = preload(w, f"{NAME}:v1")
    assert done.exit_code == 0
    assert "as it is held: the upstream answers 503" in done.output


def test_an_outage_in_the_middle_is_waited_out(w: World) -> None:
    """The upstream fails a few times, and answers again."""
    times: list[Asked] = []
    script = w.script

    def flaky(one: Asked) -> Reply:
        times.append(one)
        return (503, {}, b"") if len(times) in (2, 5, 6, 9) else script(one)

    w.script = flaky  # type: ignore[method-assign]
    assert preload(w, f"{NAME}:v1", "--platform", "all").exit_code == 0
    w.script = script  # type: ignore[method-assign]
    assert served(w, "v1", LAYER, ARM)


def test_patience_ends(w: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("distserver.bundle.preloading.here.PATIENCE_SECONDS", 0.3)
    w.down = 503
    done = preload(w, f"{NAME}:v1")
    assert done.exit_code == 1
    assert f"MISSING  {NAME}:v1:" in done.output
    assert "the same command goes on" in done.output


def test_no_byte_of_a_layer_is_fetched_without_room_for_all(
    w: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    from distserver.bundle.preloading.here import Here

    need = len(CONFIG) + len(LAYER) + len(ARM)
    monkeypatch.setattr(Here, "usable_bytes", lambda _: need - 1)
    done = preload(w, f"{NAME}:v1", f"{NAME}:amd64", "--platform", "all")
    assert done.exit_code == 1
    assert f"{need / 2**20:.1f} MiB have to come" in done.output
    assert "/blobs/" not in str(asked(w))
    monkeypatch.setattr(Here, "usable_bytes", lambda _: need)
    assert preload(w, f"{NAME}:v1", f"{NAME}:amd64", "--platform", "all").exit_code == 0


def test_offline_is_said_and_what_is_held_is_looked_at(w: World) -> None:
    assert preload(w, f"{NAME}:amd64").exit_code == 0
    w.switch("offline")
    asked(w)
    done = preload(w, f"{NAME}:amd64", f"{NAME}:v1")
    assert done.exit_code == 1
    assert f"ok       {NAME}:amd64" in done.output
    assert f"MISSING  {NAME}:v1: it is not held here, and the mode is offline" in done.output
    assert done.output.count("distserver mode online") == 2
    assert asked(w) == []


def test_an_empty_storage_is_initialised_and_another_one_is_left_alone(
    w: World, tmp_path: Path
) -> None:
    other = {"DISTSERVER_STORAGE": str(tmp_path / "new"), "DISTSERVER_STATE": str(tmp_path / "s")}
    assert preload(w, f"{NAME}:v1", **other).exit_code == 0
    assert (tmp_path / "new" / "_store").is_dir()
    foreign = tmp_path / "foreign"
    foreign.mkdir()
    (foreign / "file").write_text("x")
    other["DISTSERVER_STORAGE"], other["DISTSERVER_STATE"] = str(foreign), str(tmp_path / "t")
    assert preload(w, f"{NAME}:v1", **other).exit_code == 1
    assert [path.name for path in foreign.iterdir()] == ["file"]


def test_json_for_scripts(w: World) -> None:
    done = preload(w, f"{NAME}:v1", f"{NAME}:none", "--platform", "all", "--json")
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    by_name = {row.get("image"): row for row in rows}
    assert by_name[f"{NAME}:v1"]["digest"] == digest(w.manifests["v1"])
    assert by_name[f"{NAME}:v1"]["platforms"] == ["all"]
    assert by_name[f"{NAME}:v1"]["fetched"] == len(CONFIG) + len(LAYER) + len(ARM)
    assert "404" in by_name[f"{NAME}:none"]["problem"]
    assert rows[-1]["complete"] == rows[-1]["missing"] == 1


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["--from", "/dev/null"],
        ["a:1", "--platform", "amd64"],
        ["a:1", "--platform", "all", "--platform", "linux/amd64"],
        ["a:1", "--server", "10.0.0.5:5000"],
        ["a b"],
        ["unknown.example/a:1"],
    ],
)
def test_wrong_use(w: World, arguments: list[str]) -> None:
    assert preload(w, *arguments).exit_code == 2


def test_a_lock_file_overwrites_no_list(w: World, tmp_path: Path) -> None:
    (tmp_path / "list").write_text(f"{NAME}:v1\n")
    assert (
        preload(w, "--from", str(tmp_path / "list"), "--lock", str(tmp_path / "list")).exit_code
        == 2
    )


def test_a_line_that_is_no_image_costs_only_itself(w: World) -> None:
    done = preload(w, "--from", "-", text=f"{NAME}:v1\nUnknown.example/x:1\n")
    assert done.exit_code == 1
    assert "no upstream of this name is configured" in done.output
    assert served(w, "v1", LAYER)


def test_root_leaves_no_files_in_another_users_storage(w: World, tmp_path: Path) -> None:
    if os.geteuid():
        return
    os.chown(tmp_path / "storage", 65534, 65534)
    done = preload(w, f"{NAME}:v1")
    assert done.exit_code == 1
    assert "sudo -u" in done.output
    assert not w.upstream.asked
