"""A purge in a bucket: the bytes are gone from every object of it, not only from their names."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from distserver import app
from distserver.cli import main
from distserver.cli import purge as command
from distserver.config import Config
from distserver.oci.digests import Digest
from distserver.oci.names import Tag
from distserver.registry import layout
from tests.faults.images import TYPE, make_image
from tests.objects.servers import BUCKET, ObjectStore

SPILLED = make_image("spilled", 3 << 20)
NAME = "a/b"


def with_bytes(store: ObjectStore, *contents: bytes) -> list[str]:
    """The names of all objects of the bucket with such bytes in them."""
    client, found = store.client(), []
    for page in client.get_paginator("list_objects_v2").paginate(Bucket=BUCKET):
        for one in page.get("Contents", []):
            body = client.get_object(Bucket=BUCKET, Key=one["Key"])["Body"].read()
            found += [one["Key"] for data in contents if data in body]
    return found


def test_no_object_with_those_bytes_is_left(
    store: ObjectStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("distserver.registry.denied.FRESH_SECONDS", 0.0)
    monkeypatch.setattr(command, "HEARD_SECONDS", 0.0)
    config = Config(storage=(store.url(),), state=str(tmp_path / "state"))
    app.initialise_storage(config)
    registry = app.open_registry(config)
    for blob in SPILLED.blobs:
        registry.blobs.put(NAME, Digest.of(blob), [blob])
    registry.manifests.put(NAME, None, [Tag("v1")], SPILLED.manifest, TYPE)
    layer = Digest.of(SPILLED.layer)
    registry.backend.link(layout.blob(layer), layout.in_trash(layer)[0] + "run")
    pieces = [data[at : at + 1000] for data in (SPILLED.layer,) for at in (0, 1 << 20, 2 << 20)]
    secrets = [*pieces, SPILLED.manifest]
    assert len(with_bytes(store, *secrets)) == 4
    named = ["--digest", str(layer), "--digest", SPILLED.digest]
    flags = ["--storage", config.storage[0], "--state", config.state]
    result = CliRunner().invoke(main, ["purge", "--yes", *named, *flags])
    assert result.exit_code == 0, result.output
    assert with_bytes(store, *secrets) == []
