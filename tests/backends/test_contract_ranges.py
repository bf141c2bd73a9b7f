"""Contract: half-open ranges, right at each edge and refused one past it; short entries."""

from __future__ import annotations

import os

import pytest

from backends import Backend, put
from backends.errors import NotFound, RangeInvalid

DATA = b"0123456789"


@pytest.fixture(autouse=True)
def _entry(backend: Backend) -> None:
    put(backend, "ten", DATA)
    put(backend, "none", b"")


@pytest.mark.parametrize(
    ("start", "stop"),
    [(0, None), (0, 0), (0, 1), (0, 10), (3, 7), (9, 10), (9, None), (10, 10), (10, None)],
)
def test_a_range_is_half_open(backend: Backend, start: int, stop: int | None) -> None:
    with backend.open("ten", start, stop) as reader:
        assert reader.size == 10
        assert reader.read() == DATA[start:stop]
        assert reader.read() == b""
        assert reader.read(1) == b""


@pytest.mark.parametrize(
    ("start", "stop"), [(0, 11), (11, None), (11, 11), (7, 3), (-1, 5), (-1, None), (0, -1)]
)
def test_a_range_outside_is_refused(backend: Backend, start: int, stop: int | None) -> None:
    with pytest.raises(RangeInvalid):
        backend.open("ten", start, stop)


def test_an_empty_entry_has_one_range(backend: Backend) -> None:
    with backend.open("none") as reader:
        assert (reader.size, reader.read()) == (0, b"")
    with pytest.raises(RangeInvalid):
        backend.open("none", 0, 1)
    with pytest.raises(RangeInvalid):
        backend.open("none", 1)


def test_a_range_of_an_absent_entry_is_not_found(backend: Backend) -> None:
    with pytest.raises(NotFound):
        backend.open("absent", 5, 3)


@pytest.mark.parametrize("step", [1, 3, 4, 5, 99])
def test_parts_join_to_the_range_and_never_pass_its_end(backend: Backend, step: int) -> None:
    with backend.open("ten", 1, 9) as reader:
        parts = list(iter(lambda: reader.read(step), b""))
    assert b"".join(parts) == DATA[1:9]
    assert all(len(part) <= step for part in parts)


def test_reading_nothing_moves_nothing(backend: Backend) -> None:
    with backend.open("ten", 2) as reader:
        assert reader.read(0) == b""
        assert reader.read(2) == b"23"


def test_two_readers_of_one_entry_move_alone(backend: Backend) -> None:
    with backend.open("ten") as one, backend.open("ten", 5) as two:
        assert (one.read(2), two.read(2), one.read(2)) == (b"01", b"56", b"23")


def test_close_may_be_called_twice(backend: Backend) -> None:
    reader = backend.open("ten")
    reader.close()
    reader.close()
    with backend.open("ten") as again:
        assert again.read() == DATA


def test_a_descriptor_stands_at_the_start_of_the_range(backend: Backend) -> None:
    """What sendfile needs; a backend without local files has no fileno()."""
    with backend.open("ten", 4, 6) as reader:
        fileno = getattr(reader, "fileno", None)
        data = os.read(fileno(), 2) if fileno else reader.read(2)
    assert data == b"45"
