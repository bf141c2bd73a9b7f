"""Objects that hold wrong bytes are found by the scrub, and mended as files are."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from tests.counts import count
from tests.faults.images import live, push
from tests.faults.rot import (
    PULLED,
    PUSHED,
    QUICK,
    Store,
    damaged_now,
    paths,
    pull_all,
    upstream,
)
from tests.figures import record
from tests.live import Server, wait_for
from tests.objects.servers import BUCKET, ObjectStore
from tests.protocol.upstream import table
from tests.proxy.scripted import scripted

IMAGES = count(2, 20)


def spoil(store: ObjectStore, prefix: str) -> int:
    """Flip the last byte of each blob and manifest, where it is stored; return how many."""
    client, spoiled = store.client(), 0
    for one in client.list_objects_v2(Bucket=BUCKET, Prefix=prefix)["Contents"]:
        if "/blobs/" in one["Key"] or one["Key"].endswith(".data"):
            body = client.get_object(Bucket=BUCKET, Key=one["Key"])["Body"].read()
            wrong = body[:-1] + bytes([body[-1] ^ 1])
            client.put_object(Bucket=BUCKET, Key=one["Key"], Body=wrong)
            spoiled += 1
    return spoiled


def test_rot_in_a_bucket(store: ObjectStore, start: Callable[..., Server], tmp_path: Path) -> None:
    url = store.url()
    prefix = url.removeprefix(f"s3://{BUCKET}/").partition("?")[0]
    with scripted(upstream) as up:
        config = table(tmp_path, up.url, tag_ttl_seconds="-1")
        env = {**QUICK, "DISTSERVER_HOT_BYTES": "0"}
        server = start(None, "--workers", "1", "--config", config, storage=(url,), env=env)
        for number, image in enumerate(PUSHED[:IMAGES]):
            push(live(server), f"pushed/{number}", "v1", image)
        for number, image in enumerate(PULLED[:IMAGES]):
            for path in paths(f"up.site/team/{number}", image):
                assert live(server)("GET", path).status == 200
        begun = server.directory / "state/begun"
        wait_for(lambda: not list(begun.glob("*/*/*.json")), 60, "completion")
        spoiled = spoil(store, prefix)
        rotten = Store(server, {}, (url,))
        rotten.scrub()
        found = len(rotten.told())
        wait_for(lambda: damaged_now(server) == 3 * IMAGES, 60, "mending from the upstream")
        assert found == 6 * IMAGES
        assert pull_all(server, "up.site/team", PULLED[:IMAGES]) == 0
        assert pull_all(server, "pushed", PUSHED[:IMAGES])
        for number, image in enumerate(PUSHED[:IMAGES]):
            push(live(server), f"pushed/{number}", "v1", image)
        assert pull_all(server, "pushed", PUSHED[:IMAGES]) == 0
        assert rotten.run("verify").returncode == 0
    record(
        "300 random byte flips",
        f"a byte flipped in {spoiled} objects of a bucket",
        "all found by one pass, all mended when a good source exists, none served",
        f"{found} of {6 * IMAGES} entries found, half mended from the upstream, half by a push",
    )
