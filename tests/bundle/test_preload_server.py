"""Preloading through a running server, and beside it: as a Job in a cluster does, and by hand."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from distserver.bundle.preloading import preload as engine
from distserver.cli import main
from tests.links.ours import Ours, ours, table
from tests.live import wait_for
from tests.proxy.scripted import Asked, Reply, scripted
from tests.proxy.world import CONFIG, LAYER, World, digest, image, index, world

NAME, HERE = "up.site/team/app", "/v2/up.site/team/app"
ARM, SIGNATURE = b"arm" * 1000, b"signature"


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "PAUSE_SECONDS", 0.05)
    monkeypatch.setattr(engine, "TICK_SECONDS", 0.01)


@pytest.fixture
def w(tmp_path: Path) -> Iterator[World]:
    """An upstream with a signed team/app:v1 for two platforms."""
    with world(tmp_path / "world") as made:
        made.blobs.update({digest(ARM): ARM, digest(SIGNATURE): SIGNATURE})
        made.tag("amd64", image()), made.tag("arm64", image(ARM))
        top = made.tag("v1", index(amd64=image(), arm64=image(ARM)))
        made.tag(digest(top).replace(":", "-") + ".sig", image(SIGNATURE))
        yield made


@pytest.fixture
def server(tmp_path: Path, w: World) -> Iterator[Ours]:
    """A running server before it."""
    with ours(tmp_path / "live", table("up.site", w.upstream.url)) as running:
        yield running


def through(server: str, *arguments: str) -> Result:
    """Preload through a server, with no configuration of our own."""
    result = CliRunner().invoke(main, ["preload", "--server", server, *arguments], env={})
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


def test_a_server_fetches_what_it_is_asked_for(w: World, server: Ours, tmp_path: Path) -> None:
    lock, url = tmp_path / "lock", server.server.url
    done = through(url, f"{NAME}:v1", "--platform", "all", "--lock", str(lock))
    assert done.exit_code == 0, done.output
    assert f"{NAME}:v1@{digest(w.manifests['v1'])} all" in lock.read_text()
    w.down = 503
    for reference in ("v1", digest(image(ARM)), digest(image(SIGNATURE))):
        assert server.server.request("GET", f"{HERE}/manifests/{reference}").status_code == 200
    for blob in (CONFIG, LAYER, ARM, SIGNATURE):
        path = f"{HERE}/blobs/{digest(blob)}"
        assert server.server.request("GET", path).content == blob
    w.down = 0  # it is asked again whether there are signatures, for it may have some by now
    again = through(url, "--from", str(lock))
    assert again.exit_code == 0, again.output


def test_what_the_server_cannot_bring_is_named(w: World, server: Ours) -> None:
    done = through(server.server.url, f"{NAME}:none", f"{NAME}:v1", "unknown.example/a:1")
    assert done.exit_code == 1
    assert f"MISSING  {NAME}:none: the server answers 404" in done.output
    assert "MISSING  unknown.example/a:1: the server answers 404" in done.output
    assert f"ok       {NAME}:v1" in done.output


def test_a_server_that_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("distserver.bundle.preloading.there.PATIENCE_SECONDS", 0.2)
    with scripted(lambda _: (503, {}, b"")) as gone:
        url = gone.url
    done = through(url, "nginx")
    assert done.exit_code == 1
    assert "the server does not answer" in done.output


def test_a_body_that_breaks_off_is_read_on_and_wrong_bytes_are_refused(w: World) -> None:
    ranges: list[str] = []

    def cutting(asked: Asked) -> Reply:
        status, headers, body = w.script(Asked("GET", asked.path.replace("up.site/", ""), {}))
        if not asked.path.endswith(digest(LAYER)):
            return status, headers, body
        ranges.append(asked.headers.get("range", ""))
        start = int(ranges[-1].removeprefix("bytes=").rstrip("-") or 0)
        rest = body[start:]
        sent = rest[: len(LAYER) // 3 + 1]
        return 206 if start else 200, {"Content-Length": str(len(rest))}, sent

    with scripted(cutting) as server:
        assert through(server.url, f"{NAME}:amd64").exit_code == 0
        assert ranges[0] == "" and all(text.startswith("bytes=") for text in ranges[1:])
        w.blobs[digest(LAYER)] = bytes(len(LAYER))
        done = through(server.url, f"{NAME}:amd64")
        assert done.exit_code == 1
        assert "are not those of" in done.output
        w.blobs[digest(LAYER)] = LAYER + b"x"
        assert through(server.url, f"{NAME}:amd64").exit_code == 1


def test_a_password_comes_from_netrc(
    w: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def guarded(asked: Asked) -> Reply:
        if "authorization" not in asked.headers:
            return 401, {"WWW-Authenticate": "Basic"}, b""
        return w.script(Asked("GET", asked.path.replace("up.site/", ""), {}))

    with scripted(guarded) as server:
        done = through(server.url, f"{NAME}:amd64")
        assert done.exit_code == 1
        assert "the server answers 401" in done.output
        (tmp_path / "netrc").write_text("machine 127.0.0.1 login alice password secret\n")
        monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
        assert through(server.url, f"{NAME}:amd64").exit_code == 0


def test_both_may_be_a_tag_and_a_digest_that_differ(w: World, server: Ours) -> None:
    done = through(server.server.url, f"{NAME}:amd64@{digest(image(ARM))}")
    assert done.exit_code == 0
    assert "its tag means" in done.output


def command(server: Ours, *arguments: str) -> list[str]:
    """Preload beside a server, with its configuration, storage and state."""
    places = ("--storage", str(server.server.storage), "--state", str(server.state))
    config = ("--config", server.server.env["DISTSERVER_CONFIG"])
    return [sys.executable, "-m", "distserver", "preload", *config, *places, *arguments]


def test_beside_a_running_server(w: World, server: Ours) -> None:
    """The server sees at once what came, and does not fetch it again."""
    done = subprocess.run(
        command(server, f"{NAME}:v1", "--platform", "all"),
        env={"DISTSERVER_RESERVE_BYTES": "0", "PATH": ""},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    w.down = 503
    for reference in ("v1", digest(image(ARM))):
        assert server.server.request("GET", f"{HERE}/manifests/{reference}").status_code == 200
    gets = [one.path for one in w.upstream.asked if one.method == "GET" and "/blobs/" in one.path]
    assert len(gets) == len(set(gets)) == 4


def test_ctrl_c_ends_it_soon_and_says_how_to_go_on(w: World, server: Ours, tmp_path: Path) -> None:
    """In the middle of a layer, whose bytes stay."""
    half = len(LAYER) // 2

    def stopping(asked: Asked) -> Reply:
        status, headers, body = w.script(asked)
        if asked.path.endswith(digest(LAYER)) and asked.method == "GET" and not w.down:
            return status, {"Content-Length": str(len(body))}, body[:half]
        return status, headers, body

    with scripted(stopping) as upstream:
        config = tmp_path / "config.toml"
        config.write_text(table("up.site", upstream.url))
        places = ("--storage", str(tmp_path / "s"), "--state", str(tmp_path / "state"))
        process = subprocess.Popen(
            # Where tests run in the background of a script, SIGINT is ignored.
            ["/usr/bin/env", "--default-signal=INT", sys.executable, "-m", "distserver"]
            + ["preload", "--config", str(config), *places]
            + [f"{NAME}:amd64"],
            env={"DISTSERVER_RESERVE_BYTES": "0", "PATH": ""},
            stderr=subprocess.PIPE,
            text=True,
        )
        data = tmp_path / f"state/partial/up.site/{digest(LAYER).replace(':', '-')}/data"
        wait_for(lambda: data.exists() and data.stat().st_size == half, 30, "half of the layer")
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=15)
    assert process.returncode == 1
    assert "the same command goes on" in said
    assert data.stat().st_size >= half
