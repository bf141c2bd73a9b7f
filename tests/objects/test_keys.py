"""The contract of storages, on object stores; and listings of more than a page."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from itertools import islice

from backends import Backend, put
from tests.backends.test_contract_keys import *  # noqa: F403


def test_a_listing_of_several_pages_is_whole_and_in_order(backend: Backend) -> None:
    """1,000 names are a page; `a-b` and `a` are what servers with directories mistake."""
    names = sorted(f"many/{stem}/{n:04}" for n in range(750) for stem in ("a", "a-b", "a.b"))
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda name: put(backend, name, b""), names))
    assert list(backend.keys("many/")) == names
    assert list(backend.keys("many/", after=names[1200])) == names[1201:]
    assert list(islice(backend.keys(""), 3, 6)) == names[2:5]
