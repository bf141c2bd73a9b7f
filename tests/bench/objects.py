"""Pushes to servers whose storage is one and the same MinIO: theirs copy, ours does not."""

from __future__ import annotations

import os
from contextlib import ExitStack
from pathlib import Path

from distserver.app import initialise_storage
from distserver.config import Config
from tests.bench.cores import CLIENTS, SERVERS, pin
from tests.bench.held import Samples
from tests.bench.peers import Peer, ours, over
from tests.bench.scenarios import Sizes, pushes
from tests.objects.servers import ACCESS_KEY, BUCKET, CREDENTIALS, SECRET_KEY, ObjectStore, minio

_THEIRS = """s3: {{accesskey: "{key}", secretkey: "{secret}", region: us-east-1, bucket: {bucket},
  regionendpoint: "{endpoint}", forcepathstyle: true, secure: false, v4auth: true,
  rootdirectory: "/{name}"}}"""


def on_objects(scratch: Path, sizes: Sizes) -> tuple[dict[str, str], Samples]:
    """Return the unit, and the samples by peer, of each way to push."""
    os.environ.update(CREDENTIALS)
    units: dict[str, str] = {}
    samples: Samples = {}
    with ExitStack() as stack:
        pin(SERVERS)
        store = minio(scratch / "minio")
        stack.callback(store.kill)
        peers = _peers(stack, scratch, store)
        pin(CLIENTS)
        for _ in range(sizes.rounds):
            for scenario in pushes(sizes):
                units[scenario.name] = scenario.unit
                found = samples.setdefault(scenario.name, {})
                for peer in peers:
                    found.setdefault(peer.name, []).append(scenario.sample(peer))
    return units, samples


def _peers(stack: ExitStack, scratch: Path, store: ObjectStore) -> list[Peer]:
    config = Config(storage=(store.url(),), state=str(scratch / "ours" / "state"))
    initialise_storage(config)  # examines the object store, which is no part of what is measured
    found = [stack.enter_context(ours(scratch / "ours", config.storage[0]))]
    for program in ("registry", "docker-registry"):
        storage = _THEIRS.format(
            key=ACCESS_KEY, secret=SECRET_KEY, bucket=BUCKET, endpoint=store.endpoint, name=program
        )
        found.append(stack.enter_context(over(program, scratch / program, storage)))
    return found
