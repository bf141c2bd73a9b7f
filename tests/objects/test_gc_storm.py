"""Garbage is collected in a bucket: taken in two steps, restored by copies."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.counts import count
from tests.faults.test_gc_storm import storm_over
from tests.faults.test_paused_writer import paused_pushes
from tests.objects.servers import ObjectStore


def test_nothing_acknowledged_goes(own: ObjectStore, tmp_path: Path) -> None:
    storm_over(tmp_path, (own.url(),), "MinIO")


@pytest.mark.parametrize("there", count([True], [False, True]))
def test_a_writer_that_slept_loses_nothing(own: ObjectStore, there: bool) -> None:
    paused_pushes([own.url()], there, "MinIO")
