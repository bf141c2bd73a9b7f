"""The operator's switch: it outlives crashes and damage; nothing undoes offline by accident."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from distserver import app
from distserver.config import Config, ConfigError, load
from distserver.proxy.upstream import attempt, silence
from distserver.proxy.upstream.mode import MODES, Mode
from distserver.server.run import Application
from tests.live import wait_for


def failing(*_: object, **__: object) -> None:
    raise OSError(28, "No space left on device")


@pytest.fixture
def full(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Fills the disk of the state directory."""
    return lambda: monkeypatch.setattr(os, "fsync", failing)


@pytest.fixture
def fixed(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Lets nothing be removed any more, as on a file system that is mounted read-only."""
    return lambda: monkeypatch.setattr(Path, "unlink", failing)


def test_offline_holds_though_it_cannot_be_announced(
    tmp_path: Path, full: Callable[[], None]
) -> None:
    Mode(tmp_path, "online").announce()
    full()
    Mode(tmp_path, "offline").announce()
    assert Mode(tmp_path, "offline").now() == "offline"
    assert os.listdir(tmp_path) == []


def test_it_does_not_start_where_an_earlier_mode_would_hold_in_place_of_offline(
    tmp_path: Path, full: Callable[[], None], fixed: Callable[[], None]
) -> None:
    Mode(tmp_path, "online").announce()
    full()
    fixed()
    with pytest.raises(ConfigError, match=r"offline.*mode\.configured says online.*No space left"):
        app.create_server_app(Config(state=str(tmp_path), mode="offline"))


@pytest.mark.parametrize("configured", ["online", "offline"])
def test_it_starts_where_an_earlier_mode_does_no_harm(
    tmp_path: Path, configured: str, full: Callable[[], None], fixed: Callable[[], None]
) -> None:
    Mode(tmp_path, "offline").announce()
    full()
    fixed()
    Mode(tmp_path, configured).announce()
    assert Mode(tmp_path, configured).now() == "offline"


def test_a_configuration_that_cannot_be_taken_over_leaves_the_server_as_it_was(
    tmp_path: Path, full: Callable[[], None], fixed: Callable[[], None]
) -> None:
    def make(config: Config) -> str:
        Mode(tmp_path, config.mode).announce()
        return config.mode

    environ = {"DISTSERVER_MODE": "online"}
    served = Application(load(environ=environ), make)
    assert served.wsgi() == "online"
    environ["DISTSERVER_MODE"] = "offline"
    full()
    fixed()
    served.reload()
    assert served.wsgi() == served.load() == "online"


@pytest.mark.parametrize("mode", MODES)
def test_a_switch_is_on_the_disk_before_it_is_visible(
    tmp_path: Path, mode: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[str] = []
    fsync, replace = os.fsync, Path.replace

    def noted_fsync(descriptor: int) -> None:
        done.append(Path(os.readlink(f"/proc/self/fd/{descriptor}")).name.partition(".")[0])
        fsync(descriptor)

    def noted_replace(path: Path, target: Path) -> None:
        done.append("replaced")
        replace(path, target)

    monkeypatch.setattr(os, "fsync", noted_fsync)
    monkeypatch.setattr(Path, "replace", noted_replace)
    Mode(tmp_path, "online").switch(mode)
    assert done == ["mode", "replaced", tmp_path.name]
    Mode(tmp_path, "online").switch(None)
    assert done[3:] == [tmp_path.name]


@pytest.mark.parametrize("word", [b"", b"\xff\xfe", b"onlin\n", b"x" * 1000])
def test_a_word_that_is_no_mode_means_offline(tmp_path: Path, word: bytes) -> None:
    for name in ("mode", "mode.configured"):
        (tmp_path / name).write_bytes(word)
        assert Mode(tmp_path, "online").now() == "offline"
        (tmp_path / name).unlink()
        assert Mode(tmp_path, "online").now() == "online"


def test_a_file_that_cannot_be_read_is_as_it_was_and_offline_if_it_never_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    known = Mode(tmp_path, "online")
    known.switch("prefer-cache")
    assert known.now() == "prefer-cache"
    with monkeypatch.context() as patch:
        patch.setattr(Path, "stat", failing)
        assert known.now() == "prefer-cache"
        assert [Mode(tmp_path, "online").now(), known.now()] == ["offline", "prefer-cache"]
        assert caplog.text.count("stays prefer-cache") == 1
    assert known.now() == "prefer-cache"


def test_a_switch_that_cannot_be_written_names_its_file(
    tmp_path: Path, full: Callable[[], None]
) -> None:
    full()
    with pytest.raises(OSError, match="No space left on device") as caught:
        Mode(tmp_path, "online").switch("offline")
    assert caught.value.filename == str(tmp_path / "mode")
    assert os.listdir(tmp_path) == []


def test_what_the_running_server_says_counts_as_configured(tmp_path: Path) -> None:
    Mode(tmp_path, "offline").announce()
    assert Mode(tmp_path, "online").configured == "offline"


def test_that_a_switch_overrules_the_configuration_is_said_at_the_start(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    Mode(tmp_path, "offline").switch("online")
    Mode(tmp_path, "offline").announce()
    assert "the mode is online, switched by `distserver mode`" in caplog.text


@pytest.fixture
def allowed() -> Iterator[None]:
    yield
    attempt.WIRE.allow()


@pytest.mark.usefixtures("allowed")
def test_a_cut_that_was_undone_comes_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By a question that was let through a moment before the switch."""
    monkeypatch.setattr(silence, "LOOK_SECONDS", 0.01)
    cuts: list[bool] = []
    monkeypatch.setattr(attempt.WIRE, "cut", lambda: cuts.append(True))
    mode = Mode(tmp_path, "online")
    mode.switch("offline")
    silence.keep(mode)
    wait_for(lambda: len(cuts) > 1, 5, "second cut")
    mode.switch(None)
