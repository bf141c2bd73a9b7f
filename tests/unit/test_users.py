"""The users file and who may do what."""

from __future__ import annotations

import os
from pathlib import Path

import bcrypt
import pytest

from distserver.api.access import DEFAULT_RIGHTS, Users, parse_users

HASH = bcrypt.hashpw(b"secret", bcrypt.gensalt(4)).decode()


def test_lines() -> None:
    users = parse_users(f"# comment\n\nalice:{HASH}\nbob:{HASH}:pull,delete\n")
    assert users["alice"].rights == DEFAULT_RIGHTS
    assert users["bob"].rights == {"pull", "delete"}


@pytest.mark.parametrize("line", ["alice", "alice:plain", ":HASH", "a:HASH:admin", "a:{SHA}x"])
def test_a_bad_line_is_named(line: str) -> None:
    line = line.replace("HASH", HASH)
    with pytest.raises(ValueError, match="line 2"):
        parse_users(f"# first\n{line}\n")


def test_passwords_and_changes_of_the_file(tmp_path: Path) -> None:
    path = tmp_path / "users"
    path.write_text(f"alice:{HASH}\n")
    users = Users(path)
    assert users.authenticate("alice", b"secret")
    assert users.authenticate("alice", b"secret")  # remembered
    assert not users.authenticate("alice", b"wrong")
    assert not users.authenticate("bob", b"secret")
    path.write_text("")
    assert not users.authenticate("alice", b"secret")


def test_a_file_that_goes_bad_leaves_the_users_of_before(tmp_path: Path) -> None:
    path = tmp_path / "users"
    path.write_text(f"alice:{HASH}\n")
    users = Users(path)
    assert users.authenticate("alice", b"secret")
    path.write_text("garbage\n")
    assert users.authenticate("alice", b"secret")
    os.unlink(path)
    assert users.authenticate("alice", b"secret")
