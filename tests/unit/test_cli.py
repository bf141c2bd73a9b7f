"""The commands: help that teaches, errors in one line, exit codes 0, 1 and 2."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from distserver import app
from distserver.cli import main
from distserver.config import load
from distserver.oci.names import Tag

IMAGE = json.dumps(
    {
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.index.v1+json",
        "manifests": [],
    }
).encode()


@pytest.fixture
def env(tmp_path: Path) -> dict[str, str]:
    return {
        "DISTSERVER_STORAGE": str(tmp_path / "storage"),
        "DISTSERVER_STATE": str(tmp_path / "state"),
        "DISTSERVER_USERS_FILE": str(tmp_path / "users"),
        "DISTSERVER_RESERVE_BYTES": "0",
    }


def run(env: dict[str, str], *arguments: str, text: str = "") -> Result:
    result = CliRunner().invoke(main, arguments, input=text, env=env)
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


def _push(env: dict[str, str]) -> None:
    assert run(env, "init").exit_code == 0
    registry = app.open_registry(load(environ=env).config)
    registry.manifests.put("a/b", None, [Tag("v1")], IMAGE, None)


@pytest.mark.parametrize(
    "command", ["", *main.commands, "image save", "user add", "user list", "user remove"], ids=str
)
def test_each_command_has_help(command: str) -> None:
    result = CliRunner().invoke(main, [*command.split(), "--help"])
    assert result.exit_code == 0
    assert len(result.output) > 150


@pytest.mark.parametrize("group", ["", "node-config", "image", "user"])
def test_the_list_of_commands_is_not_cut(group: str) -> None:
    shown = CliRunner().invoke(main, [*group.split(), "--help"]).output
    assert "..." not in shown.partition("Commands:")[2]


def test_init_gives_one_identity_and_keeps_it(env: dict[str, str]) -> None:
    first = run(env, "init")
    assert first.exit_code == 0
    assert run(env, "init").output == first.output


def test_list_remove_verify(env: dict[str, str]) -> None:
    _push(env)
    assert run(env, "ls").output.startswith("a/b:v1  sha256:")
    assert json.loads(run(env, "ls", "a/b", "--json").output)["tag"] == "v1"
    assert run(env, "verify").exit_code == 0
    assert run(env, "rm", "a/b:v1").exit_code == 0
    assert run(env, "ls").output == ""
    assert run(env, "rm", "a/b:v1").exit_code == 1


def test_verify_names_damage_and_exits_1(env: dict[str, str]) -> None:
    _push(env)
    (blob,) = Path(env["DISTSERVER_STORAGE"]).glob("blobs/sha256/*/*")
    blob.chmod(0o644)
    blob.write_bytes(IMAGE.replace(b"2", b"3"))
    result = run(env, "verify")
    assert result.exit_code == 1
    assert "DAMAGED  a/b:v1" in result.output
    assert blob.name in result.output


@pytest.mark.parametrize("image", ["a", "a/b", "x:5000/a", ":v1", "a:"])
def test_rm_of_what_names_no_image_is_wrong_use(env: dict[str, str], image: str) -> None:
    assert run(env, "rm", image).exit_code in (1, 2)


@pytest.mark.parametrize("command", [["ls"], ["verify"], ["rm", "a:b"]])
def test_a_storage_that_is_not_there_is_one_line(env: dict[str, str], command: list[str]) -> None:
    result = run(env, *command)
    assert result.exit_code == 1
    assert result.output.count("Error:") == 1


def test_users(env: dict[str, str]) -> None:
    add = ("user", "add", "alice", "--password-stdin")
    assert run(env, *add, text="secret\n").exit_code == 0
    path = Path(env["DISTSERVER_USERS_FILE"])
    assert path.stat().st_mode & 0o777 == 0o600
    assert "secret" not in path.read_text()
    path.chmod(0o640)
    assert run(env, *add, "--rights", "pull,delete", text="other\n").exit_code == 0
    assert path.stat().st_mode & 0o777 == 0o640
    assert run(env, "user", "list").output == "alice  delete,pull\n"
    assert run(env, "user", "remove", "alice").exit_code == 0
    assert run(env, "user", "remove", "alice").exit_code == 1


@pytest.mark.parametrize("name", ["", "a:b", "a\nb", "#a", " a", "a\0", "\x1b[1m"])
def test_names_that_would_break_the_users_file(env: dict[str, str], name: str) -> None:
    assert run(env, "user", "add", name, "--password-stdin", text="x\n").exit_code == 2
    assert not Path(env["DISTSERVER_USERS_FILE"]).exists()


@pytest.mark.parametrize("password", ["", "x" * 73])
def test_passwords_that_bcrypt_would_cut(env: dict[str, str], password: str) -> None:
    assert run(env, "user", "add", "a", "--password-stdin", text=password + "\n").exit_code == 2


def test_a_users_file_that_cannot_be_written_is_one_line(env: dict[str, str]) -> None:
    env["DISTSERVER_USERS_FILE"] = "/proc/none/users"
    result = run(env, "user", "add", "a", "--password-stdin", text="x\n")
    assert result.exit_code == 1
    assert "Error: /proc/none" in result.output


def test_config_says_where_each_value_came_from(env: dict[str, str]) -> None:
    shown = json.loads(run(env, "config", "--json").output)
    assert shown["storage"] == {"value": [env["DISTSERVER_STORAGE"]], "source": "environment"}
    assert "[default]" in run(env, "config").output


def test_check_storage(tmp_path: Path) -> None:
    assert run({}, "check-storage", str(tmp_path)).exit_code == 0
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]
    env = {"DISTSERVER_STATE": str(tmp_path / "state")}
    assert run(env, "init", "--storage", str(tmp_path)).exit_code == 0
    assert run({}, "check-storage", "gopher://x").exit_code == 2
    assert run({}, "check-storage", str(tmp_path / "none")).exit_code == 1
