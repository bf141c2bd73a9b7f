"""The power of an object store goes during pushes: what was acknowledged is there afterwards."""

from __future__ import annotations

import random
import threading
from pathlib import Path

import pytest

from tests.counts import count
from tests.faults.disks import cut_power, mount_again, small_disk
from tests.faults.pushing import pushing
from tests.figures import record
from tests.live import running, start_server, wait_for
from tests.objects.servers import minio

ROUNDS = count(1, 10)


def test_power_cuts_of_the_object_store_lose_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By default MinIO acknowledges what its disk may not have yet, which nobody sees from here."""
    monkeypatch.setenv("MINIO_FS_OSYNC", "on")
    rng, acknowledged, lost, sums = random.Random(3), None, 0, 0
    with small_disk("ext4", tmp_path, 1 << 30, 1 << 16) as disk:
        store = minio(disk / "minio")
        try:
            server = start_server(tmp_path / "server", "--workers", "2", storage=store.url())
            with running(server):
                for number in range(ROUNDS):
                    with pushing(server, f"cut {number}", acknowledged, threads=4) as acknowledged:
                        sent = acknowledged
                        wait_for(lambda: len(sent) > 5, 60, "pushes")  # noqa: B023
                        threading.Event().wait(rng.uniform(0, 2))
                        cut_power(disk)
                        store.kill()
                    mount_again(disk)
                    store.start()
                    lost += len(acknowledged.lost(server))
                    sums += len(acknowledged)
        finally:
            store.kill()
    record(
        "S3",
        f"power cut of MinIO's disk (MINIO_FS_OSYNC=on) in 4 parallel pushes, {ROUNDS} times",
        "0 acknowledged lost",
        f"{lost} of {sums} acknowledged entries lost",
    )
    assert lost == 0 and sums > ROUNDS
