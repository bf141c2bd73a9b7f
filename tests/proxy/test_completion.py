"""What was begun is completed, over outages and restarts; what is not whole is not offered."""

from __future__ import annotations

import errno
import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from distserver.cli import main
from distserver.config import UpstreamConfig
from distserver.oci.digests import Digest
from distserver.oci.manifests import OCI_MANIFEST, parse_manifest
from distserver.proxy import completer
from distserver.proxy.begun import Begun
from distserver.proxy.fetching.fetch import CLEAN_TRIES
from distserver.proxy.upstream import breaker, uplink
from tests.live import wait_for
from tests.proxy.world import (
    CONFIG,
    LAYER,
    TAG,
    World,
    descriptor,
    digest,
    image,
    index,
    pull,
    world,
)

REPOSITORY = "/v2/up.site/team/app"
QUIET = UpstreamConfig(tag_ttl_seconds=0, signatures=False)


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(completer, "FIRST_PAUSE_SECONDS", 0.05)
    monkeypatch.setattr(completer, "LONGEST_PAUSE_SECONDS", 0.05)
    monkeypatch.setattr(completer, "LOOK_SECONDS", 0.02)
    monkeypatch.setattr(breaker, "FIRST_PAUSE_SECONDS", 0.05)
    monkeypatch.setattr(breaker, "LONGEST_PAUSE_SECONDS", 0.05)


def has(w: World, data: bytes) -> bool:
    """Whether a blob is held, as a client that may push is told."""
    return w.get(f"{REPOSITORY}/blobs/{digest(data)}", "HEAD")[0] == 200


def test_PT_17_the_link_drops_behind_the_manifest(tmp_path: Path) -> None:
    with world(tmp_path, QUIET) as w:
        assert w.get(TAG)[0] == 200
        w.complete()
        w.down = 503
        pull(w)


def test_PT_17_another_process_goes_on_when_the_link_is_back(tmp_path: Path) -> None:
    """A server pulls a manifest and dies; the next one finds it, and an upstream that is away."""
    with world(tmp_path, QUIET) as w:
        assert w.get(TAG)[0] == 200
    with world(tmp_path, QUIET) as w:
        w.down = 503
        w.app.extensions["distserver.after_fork"]()
        wait_for(lambda: len(w.upstream.asked) > 5, 10, "several tries")
        assert not has(w, LAYER)
        w.down = 0
        wait_for(lambda: has(w, LAYER) and has(w, CONFIG), 20, "completion")
        wait_for(lambda: not list((w.state / "begun").glob("*/*/*.json")), 20, "end")


@pytest.mark.parametrize(("wrong", "again"), [(LAYER[:-1], True), (LAYER[:-1] + b"x", False)])
def test_wrong_bytes_are_not_fetched_again_soon_but_wrong_headers_cost_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, wrong: bytes, again: bool
) -> None:
    monkeypatch.setattr(uplink, "DISTRUST_SECONDS", 0.01)
    with world(tmp_path, QUIET) as w:
        w.blobs[digest(LAYER)] = wrong
        w.get(TAG)
        w.app.extensions["distserver.after_fork"]()
        wait_for(lambda: blob_gets(w), 20, "question")
        seen = blob_gets(w)
        try:
            # One fetch asks so often; whoever is quick sees the first of them only.
            wait_for(lambda: blob_gets(w) >= seen + CLEAN_TRIES, 5, "questions again")
        except TimeoutError:
            assert not again
        else:
            assert again


def blob_gets(w: World) -> int:
    """How often the layer was asked for."""
    return sum(path.endswith(digest(LAYER)) for path in w.gets)


def test_verify_tells_what_has_not_come_yet_from_damage(tmp_path: Path) -> None:
    with world(tmp_path, QUIET) as w:
        w.get(TAG)
    places = {"STORAGE": str(tmp_path / "storage"), "STATE": str(w.state)}
    found = CliRunner().invoke(
        main, "verify", env={f"DISTSERVER_{k}": v for k, v in places.items()}
    )
    assert found.exit_code == 0
    assert found.output.startswith("partial  up.site/team/app:v1")
    assert digest(LAYER) in found.output


@pytest.mark.parametrize("error", [ZeroDivisionError("a fault of ours"), OSError(5, "I/O error")])
def test_what_nobody_foresaw_is_put_off_and_mended_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    monkeypatch.setattr(completer, "FIRST_PAUSE_SECONDS", 1000)
    monkeypatch.setattr(completer, "LONGEST_PAUSE_SECONDS", 1000)
    tried: list[Path] = []

    def broken(begun: Begun, path: Path) -> None:
        if tmp_path in begun.directory.parents:  # not one of an earlier test
            tried.append(path)
        raise error

    with world(tmp_path, QUIET) as w:
        w.get(TAG)
        with monkeypatch.context() as patch:
            patch.setattr(Begun, "read", broken)
            w.app.extensions["distserver.after_fork"]()
            wait_for(lambda: tried, 10, "a try")
            with pytest.raises(TimeoutError):
                wait_for(lambda: len(tried) > 1, 0.3, "a second try at once")
        w.app.extensions["distserver.before_exit"]()
    with world(tmp_path, QUIET) as w:
        w.complete()
        assert has(w, LAYER)


def test_a_task_that_cannot_be_read_now_stays_and_a_damaged_one_goes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def busy(*_: object, **__: object) -> None:
        raise OSError(errno.EMFILE, "Too many open files")

    begun, manifest = Begun(tmp_path), parse_manifest(image(), OCI_MANIFEST)
    begun.add("up.site/app", Digest.parse(digest(LAYER)), manifest, False)
    (path,) = begun.paths()
    with monkeypatch.context() as patch:
        patch.setattr(Path, "open", busy)
        with pytest.raises(OSError, match="Too many"):
            begun.read(path)
        assert begun.size_of("up.site/app", Digest.parse(digest(LAYER))) is None
    assert begun.read(path)
    path.write_text("{")
    assert begun.read(path) is None


def test_offline_nothing_is_completed(tmp_path: Path) -> None:
    with world(tmp_path, QUIET) as w:
        w.get(TAG)
        asked = len(w.upstream.asked)
        w.switch("offline")
        w.app.extensions["distserver.after_fork"]()
        with pytest.raises(TimeoutError):
            wait_for(lambda: len(w.upstream.asked) > asked, 0.5, "question")
        w.switch(None)
        wait_for(lambda: has(w, LAYER), 20, "completion")


def test_P_01_an_incomplete_manifest_is_not_offered_while_its_upstream_is_away(
    tmp_path: Path,
) -> None:
    """podman would stay with us and fail; with 503 it goes to its next mirror."""
    with world(tmp_path, QUIET) as w:
        assert w.get(TAG)[0] == 200
        w.down = 503
        wait_for(lambda: w.get(TAG)[0] == 503, 20, "refusal")
        by_digest = f"{REPOSITORY}/manifests/{digest(w.manifests['v1'])}"
        assert w.get(by_digest)[0] == 503
        w.down = 0
        wait_for(lambda: w.get(by_digest)[0] == 200, 20, "offer")
        w.complete()
        w.down = 503
        assert w.get(TAG)[0] == 200


def test_an_index_is_whole_when_one_member_is(tmp_path: Path) -> None:
    with world(tmp_path, QUIET) as w:
        amd64, arm64 = image(), image(b"arm")
        w.blobs[digest(b"arm")] = b"arm"
        w.tag("a", amd64), w.tag("b", arm64)
        top = w.tag("v1", index(amd64=amd64, arm64=arm64))
        assert w.get(TAG)[:2] == (200, top)
        w.complete()
        assert not has(w, LAYER)  # no platform was asked for yet
        assert w.get(f"{REPOSITORY}/manifests/{digest(amd64)}")[0] == 200
        w.complete()
        w.down = 503
        assert w.get(TAG)[:2] == (200, top)
        assert has(w, LAYER)
        assert not has(w, b"arm")


def test_platforms_that_are_configured_come_unasked(tmp_path: Path) -> None:
    with world(tmp_path, QUIET, platforms=("linux/arm64", "linux/riscv64")) as w:
        amd64, arm64 = image(), image(b"arm")
        w.blobs[digest(b"arm")] = b"arm"
        w.tag("a", amd64), w.tag("b", arm64)
        w.tag("v1", index(amd64=amd64, arm64=arm64))
        assert w.get(TAG)[0] == 200
        w.complete()
        assert has(w, b"arm")
        assert not has(w, LAYER)


def signed(w: World) -> tuple[bytes, str]:
    """Give the image a cosign signature and a referrer; return the referrer and the tag."""
    subject = descriptor(w.manifests["v1"], json.loads(w.manifests["v1"])["mediaType"])
    referrer = image(subject=subject)
    w.manifests[digest(referrer)] = referrer
    w.referrers[digest(w.manifests["v1"])] = [{"digest": digest(referrer)}]
    tag = digest(w.manifests["v1"]).replace(":", "-") + ".sig"
    w.tag(tag, image(annotations={"signs": "v1"}))
    return referrer, tag


def test_PT_18_signatures_come_along(tmp_path: Path) -> None:
    with world(tmp_path) as w:
        referrer, tag = signed(w)
        assert w.get(TAG)[0] == 200
        w.complete()
        w.down = 503
        assert w.get(TAG.replace("v1", tag))[0] == 200
        listed = json.loads(w.get(f"{REPOSITORY}/referrers/{digest(w.manifests['v1'])}")[1])
        assert [entry["digest"] for entry in listed["manifests"]] == [digest(referrer)]


def test_PT_18_signatures_stay_away_where_that_is_configured(tmp_path: Path) -> None:
    with world(tmp_path, QUIET) as w:
        _, tag = signed(w)
        assert w.get(TAG)[0] == 200
        w.complete()
        assert not any(tag in asked.path for asked in w.upstream.asked)


def test_referrers_are_asked_for_and_never_guessed(tmp_path: Path) -> None:
    with world(tmp_path, QUIET) as w:
        referrer, _ = signed(w)
        path = f"{REPOSITORY}/referrers/{digest(w.manifests['v1'])}"
        w.down = 503
        assert w.get(path)[0] == 503  # "there are none" would be an answer
        w.down = 0
        wait_for(lambda: w.get(path)[0] == 200, 10, "list")
        assert digest(referrer) in w.get(path)[1].decode()
        w.down = 503
        assert digest(referrer) in w.get(path)[1].decode()


def test_referrers_of_an_upstream_without_the_api_come_by_the_fallback_tag(
    tmp_path: Path,
) -> None:
    with world(tmp_path, QUIET) as w:
        referrer, _ = signed(w)
        subject = digest(w.manifests["v1"])
        w.referrers.clear()
        w.tag(subject.replace(":", "-"), index(amd64=referrer))
        answer = w.get(f"{REPOSITORY}/referrers/{subject}")
        assert [e["digest"] for e in json.loads(answer[1])["manifests"]] == [digest(referrer)]
        assert json.loads(w.get(f"{REPOSITORY}/referrers/{digest(LAYER)}")[1])["manifests"] == []
