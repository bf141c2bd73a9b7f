"""Contract: what is no key is refused at every verb, before anything is touched."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backends import Backend, Filesystem, erase, put, restore
from backends.base import Adopts, LocalPath, Revises
from backends.errors import InvalidKey
from backends.keys import is_key
from tests.counts import count

NO_KEYS = {
    "empty": "",
    "slash": "/",
    "absolute": "/etc/passwd",
    "up": "../x",
    "up inside": "a/../../x",
    "up at the end": "a/..",
    "here": "./a",
    "hidden": ".hidden",
    "hidden below": "a/.stfolder",
    "double slash": "a//b",
    "slash at the end": "a/",
    "nul": "a\0b",
    "newline": "a\n",
    "newline inside": "a\nb",
    "space": "a b",
    "percent": "a%2e",
    "colon": "sha256:00",
    "backslash": "a\\b",
    "tilde": "~root",
    "not ascii": "ä",
    "digit of another script": "\u0663",
    "surrogate": "a\udcff",
    "long": "a/" * 512 + "aa",
    "long component": "a" * 256,
    "temporaries": "tmp/x",
    "temporaries alone": "tmp",
    "of the file system": "lost+found/x",
    "sync conflict": "a/b.sync-conflict-20260101",
}
KEYS = {
    "longest": "/".join(["a" * 255] * 4),
    "inner dots": "a..b/c...",
    "every sign": "Aa0_!=+@-/x._!=+@-",
    "tmp below": "a/tmp/x",
    "tmp as a beginning": "tmpfile",
    "conflict in a directory": "a.sync-conflict-1/b",
}


def _commit(backend: Backend, key: str) -> None:
    put(backend, key, b"x")


VERBS: dict[str, Callable[[Backend, str], object]] = {
    "stat": lambda backend, key: backend.stat(key),
    "open": lambda backend, key: backend.open(key),
    "commit": _commit,
    "link source": lambda backend, key: backend.link(key, "target"),
    "link target": lambda backend, key: backend.link("entry", key),
    "delete": lambda backend, key: backend.delete(key),
    "restore source": lambda backend, key: restore(backend, key, "target"),
    "restore target": lambda backend, key: restore(backend, "entry", key),
    "erase": erase,
}


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize("wrong", NO_KEYS)
def test_what_is_no_key_is_refused(backend: Backend, tmp_path: Path, verb: str, wrong: str) -> None:
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(InvalidKey):
        VERBS[verb](backend, NO_KEYS[wrong])
    after = [path for path in sorted(tmp_path.rglob("*")) if path.name != "tmp"]
    assert after == [path for path in before if path.name != "tmp"]


@pytest.mark.parametrize(
    "wrong", sorted({*NO_KEYS} - {"empty", "slash at the end", "sync conflict"})
)
def test_what_is_no_prefix_is_refused(backend: Backend, wrong: str) -> None:
    for prefix in (NO_KEYS[wrong], NO_KEYS[wrong] + "/"):
        with pytest.raises(InvalidKey):
            list(backend.keys(prefix))


def test_a_prefix_needs_its_slash(backend: Backend) -> None:
    with pytest.raises(InvalidKey):
        list(backend.keys("a"))


@pytest.mark.parametrize("wrong", NO_KEYS)
def test_capabilities_refuse_it_too(backend: Backend, tmp_path: Path, wrong: str) -> None:
    key = NO_KEYS[wrong]
    finished = tmp_path / "finished"
    finished.write_bytes(b"x")
    if isinstance(backend, Adopts):
        with pytest.raises(InvalidKey):
            backend.adopt(str(finished), key)
    if isinstance(backend, LocalPath):
        with pytest.raises(InvalidKey):
            backend.local_path(key)
    if isinstance(backend, Revises) and not key.endswith("/") and key:
        with pytest.raises(InvalidKey):
            backend.revision(key)
    assert finished.read_bytes() == b"x"


@pytest.mark.parametrize("name", KEYS)
def test_every_key_of_the_grammar_works(backend: Backend, name: str) -> None:
    put(backend, KEYS[name], b"x")
    assert backend.stat(KEYS[name]).size == 1
    assert KEYS[name] in list(backend.keys(""))
    backend.delete(KEYS[name])
    assert KEYS[name] not in list(backend.keys(""))


def test_a_refused_key_needs_no_storage(tmp_path: Path) -> None:
    """The grammar is asked before the storage: an attack reaches no kernel call."""
    with pytest.raises(InvalidKey):
        Filesystem(tmp_path / "missing").stat("../x")


@settings(max_examples=count(200, 5000), deadline=None)
@given(st.text("aA0._!=+@-/\\~ \0\n:é%", max_size=40) | st.text(max_size=20))
def test_no_key_leads_out_of_the_root_or_to_a_hidden_file(text: str) -> None:
    if is_key(text):
        assert os.path.normpath(text) == text and not text.startswith(("/", "../", "tmp/"))
        assert text.isascii() and text.isprintable()
        assert all(part and part[0] != "." for part in text.split("/"))
