"""Contract: keys() yields every key below a prefix, lazily, in the order of their bytes."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from backends import Backend, Filesystem, Memory, initialise, put, read_all
from backends.errors import NotFound
from tests.backends.conftest import Reopen
from tests.backends.fake_os import FakeOs

NAMES = ["a-b/x", "a.b", "a/x", "a/y", "a0", "b/0.1.2", "b/0.1.20", "b/c/d/e"]


@pytest.fixture
def filled(backend: Backend) -> Backend:
    for name in reversed(NAMES):
        put(backend, f"p/{name}", b"")
    put(backend, "p-other/x", b"")
    put(backend, "q", b"")
    return backend


def test_order_is_that_of_the_bytes_of_the_whole_key(filled: Backend) -> None:
    """A walker that sorts directories by their bare names puts `a-b/x` behind `a/x`."""
    assert list(filled.keys("p/")) == [f"p/{name}" for name in NAMES]


def test_a_prefix_ends_at_its_slash(filled: Backend) -> None:
    assert list(filled.keys("p/a/")) == ["p/a/x", "p/a/y"]
    assert list(filled.keys("p/absent/")) == list(filled.keys("absent/")) == []


def test_the_empty_prefix_is_everything(filled: Backend) -> None:
    everything = list(filled.keys(""))
    assert everything == sorted(everything)
    assert {"p/a0", "p-other/x", "q"} <= set(everything)
    assert not any(key.startswith("tmp/") for key in everything)


@pytest.mark.parametrize("name", NAMES)
def test_after_is_an_exclusive_bound(filled: Backend, name: str) -> None:
    rest = [f"p/{n}" for n in NAMES[NAMES.index(name) + 1 :]]
    assert list(filled.keys("p/", after=f"p/{name}")) == rest


@pytest.mark.parametrize("after", ["", "a", "p", "o/z", "p-", "\x00", "p/"])
def test_after_below_the_prefix_is_ignored(filled: Backend, after: str) -> None:
    assert len(list(filled.keys("p/", after=after))) == len(NAMES)


@pytest.mark.parametrize("after", ["p0", "q", "zzz", "p/é", "p/b/~", "\U0010ffff", "\udcff"])
def test_after_beyond_the_last_key_leaves_none(filled: Backend, after: str) -> None:
    assert list(filled.keys("p/b/0/", after=after)) == []
    assert list(filled.keys("p/a/", after=after)) == []


@pytest.mark.parametrize("after", ["p/a", "p/a/", "p/a/../b", "p/a.", "p/b/0.1.2/", "p/b/c/d/"])
def test_after_may_be_any_text(filled: Backend, after: str) -> None:
    wanted = [f"p/{name}" for name in NAMES if f"p/{name}" > after]
    assert list(filled.keys("p/", after=after)) == wanted


def test_settle_changes_nothing_here(filled: Backend) -> None:
    assert list(filled.keys("p/", settle=True)) == list(filled.keys("p/"))


def test_an_iteration_survives_changes(filled: Backend, reopen: Reopen) -> None:
    """Keys that stay are seen once each, whatever comes and goes meanwhile."""
    found: Iterator[str] = filled.keys("p/")
    seen = list(islice(found, 2))
    reopen().delete("p/b/c/d/e")
    put(reopen(), "p/a/new", b"")
    seen += found
    stay = [f"p/{name}" for name in NAMES if name != "b/c/d/e"]
    assert [key for key in seen if key in stay] == stay


def test_a_listing_reads_no_directory_before_it_must(files: Filesystem, fake: FakeOs) -> None:
    for name in ("a/1", "b/1", "c/1"):
        put(files, name, b"")
    fake.reset()
    found = files.keys("")
    assert fake.calls == []
    assert next(found).startswith("_store/") and next(found) == "a/1"
    assert [call.path for call in fake.of("scandir")] == [".", "_store", "a"]


def test_a_listing_skips_the_directories_before_its_start(files: Filesystem, fake: FakeOs) -> None:
    for name in ("a/1", "b/1", "b/2", "c/1"):
        put(files, name, b"")
    fake.reset()
    assert list(files.keys("", after="b/1")) == ["b/2", "c/1"]
    assert [call.path for call in fake.of("scandir")] == [".", "b", "c"]


_COMPONENTS = st.text("ab-.0", min_size=1, max_size=3).filter(lambda text: text[0] != ".")
_KEYS = st.lists(_COMPONENTS, min_size=1, max_size=3).map("/".join)
_ACTIONS = st.lists(
    st.tuples(
        st.sampled_from(["put", "put", "link", "delete"]), _KEYS, _KEYS, st.binary(max_size=3)
    ),
    max_size=12,
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(actions=_ACTIONS, after=_KEYS, prefix=_COMPONENTS)
def test_all_backends_do_as_a_dictionary_does(
    actions: list[tuple[str, str, str, bytes]], after: str, prefix: str
) -> None:
    with tempfile.TemporaryDirectory() as directory, pytest.MonkeyPatch.context() as patch:
        FakeOs(sync=False).install(patch)
        store = Filesystem(Path(directory), reserve_bytes=0)
        initialise(store)
        for backend, model in ((store, _started(store)), (Memory(), {})):
            for action in actions:
                _act(backend, model, *action)
            _same(backend, model, prefix, after)


def _started(backend: Backend) -> dict[str, bytes]:
    return {key: read_all(backend, key, 4096) for key in backend.keys("")}


def _act(
    backend: Backend, model: dict[str, bytes], verb: str, key: str, source: str, data: bytes
) -> None:
    if any(k.startswith(f"{key}/") or key.startswith(f"{k}/") for k in model):
        return  # the layout never makes a key the parent of another
    if verb == "put":
        put(backend, key, data)
        model[key] = data
    elif verb == "delete":
        backend.delete(key)
        model.pop(key, None)
    elif source in model:
        backend.link(source, key)
        model[key] = model[source]
    elif not any(source.startswith(f"{k}/") for k in model):
        with pytest.raises(NotFound):
            backend.link(source, key)


def _same(backend: Backend, model: dict[str, bytes], prefix: str, after: str) -> None:
    everything = sorted(model, key=str.encode)
    assert list(backend.keys("")) == everything
    assert {key: read_all(backend, key, 4096) for key in everything} == model
    assert list(backend.keys("", after)) == [key for key in everything if key > after]
    if prefix in model:
        return
    below = [key for key in everything if key.startswith(f"{prefix}/") and key > after]
    assert list(backend.keys(f"{prefix}/", after)) == below
