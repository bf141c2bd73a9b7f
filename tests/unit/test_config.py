"""Configuration: later sources win, and what is wrong is named in one line."""

from __future__ import annotations

from pathlib import Path

import pytest

from distserver.config import Config, ConfigError, is_loopback, load, parse_listen
from distserver.server.settings import settings
from distserver.storage import open_configured


def test_flags_win_over_environment_over_file_over_defaults(tmp_path: Path) -> None:
    file = tmp_path / "c.toml"
    file.write_text('workers = 1\nthreads = 2\nlisten = "127.0.0.1:1"\nnames = ["a", "b"]\n')
    environ = {"DISTSERVER_THREADS": "3", "DISTSERVER_LISTEN": "127.0.0.1:2", "OTHER": "x"}
    loaded = load(str(file), environ, {"listen": "127.0.0.1:3", "workers": None})
    assert (loaded.config.workers, loaded.config.threads) == (1, 3)
    assert loaded.config.listen == "127.0.0.1:3"
    assert loaded.config.names == ("a", "b")
    assert [loaded.sources[k] for k in ("workers", "threads", "listen", "state")] == [
        str(file),
        "environment",
        "flag",
        "default",
    ]


def test_an_object_store_is_asked_as_the_keys_say() -> None:
    environ = {"DISTSERVER_S3_ENDPOINT": "http://minio:9000", "DISTSERVER_S3_PATH_STYLE": "false"}
    config = load(None, environ, {"storage": ["s3://registry/a"]}).config
    assert config.storage == ("s3://registry/a",)
    assert (config.s3_endpoint, config.s3_path_style) == ("http://minio:9000", False)
    assert Config().s3_path_style is None
    with pytest.raises(ConfigError, match="give s3://BUCKET"):
        open_configured(config, ["s3://"])


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("WORKERS", "1_000"),
        ("WORKERS", " +5 "),
        ("WORKERS", "٣"),
        ("WORKERS", "x"),
        ("WORKERS", "9" * 19),
        ("WORKERS", "-1"),
        ("THREADS", "0"),
        ("RESERVE_BYTES", "-2"),
        ("ALLOW_ANONYMOUS_PUSH", "maybe"),
        ("S3_PATH_STYLE", "maybe"),
        ("S3_ENDPOINT", "minio:9000"),
        ("S3_REDIRECT_ENDPOINT", "https://user:secret@minio"),
        ("ALLOW_ANONYMOUS_PUSH", "True"),
        ("LOG_FORMAT", "xml"),
        ("LISTEN", "5000"),
        ("LISTEN", "a:99999"),
        ("LISTEN", "a:٣"),
        ("TLS_CERT", "/x"),
        ("STORAGE", "/a,/b,/a"),
        ("DEGRADED_ACK", "1"),
        ("SCRUB_DAYS", "-1"),
        ("NO_SUCH_KEY", "1"),
    ],
)
def test_what_is_wrong_is_named(name: str, value: str) -> None:
    with pytest.raises(ConfigError, match=name.lower()) as caught:
        load(environ={f"DISTSERVER_{name}": value})
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "text", [b"workers = ", b"\xff\xfe", b"workers = true", b"names = 1", b"storage = [1]"]
)
def test_bad_files_are_one_line(tmp_path: Path, text: bytes) -> None:
    (tmp_path / "c.toml").write_bytes(text)
    with pytest.raises(ConfigError):
        load(str(tmp_path / "c.toml"))


def test_a_file_that_was_named_must_be_there_and_an_empty_name_names_none(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="missing"):
        load(environ={"DISTSERVER_CONFIG": str(tmp_path / "missing")})
    assert load(environ={"DISTSERVER_CONFIG": ""}).config == Config()


def test_relative_paths_become_full(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert load(flags={"storage": ("a:b",)}).config.storage == (str(tmp_path / "a:b"),)
    assert load(flags={"storage": ("file:///x",)}).config.storage == ("file:///x",)


def test_listen() -> None:
    assert parse_listen("[::1]:5000") == ("::1", 5000)
    assert parse_listen("unix:/x") == ("unix:/x", 0)
    on_loopback = ["127.0.0.1:1", "[::1]:1", "localhost:1", "unix:/x", "0.0.0.0:1", "10.0.0.1:1"]
    assert [is_loopback(listen) for listen in on_loopback] == [True] * 4 + [False] * 2


def test_gunicorn_gets_what_the_configuration_says() -> None:
    made = settings(Config(listen="127.0.0.1:7", workers=3, threads=5, graceful_timeout_seconds=9))
    wanted = {"bind": ["127.0.0.1:7"], "workers": 3, "threads": 5, "graceful_timeout": 9}
    assert {key: made[key] for key in wanted} == wanted
    assert made["preload_app"] is True
