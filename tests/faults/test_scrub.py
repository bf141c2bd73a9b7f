"""Bytes rot: one pass of a server's background scrub finds all of it, and all of it is mended."""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.counts import count
from tests.faults.images import digest_of, live, make_image, push
from tests.faults.rot import (
    FLIPS,
    PULLED,
    PUSHED,
    QUICK,
    Store,
    contents,
    damaged_now,
    flip_silently,
    paths,
    pull_all,
    upstream,
)
from tests.faults.test_flips import flip
from tests.faults.test_replica_rot import are_equal
from tests.figures import record
from tests.live import Server, wait_for
from tests.protocol.upstream import table
from tests.proxy.scripted import scripted

pytestmark = pytest.mark.fault


@pytest.fixture
def store(start: Callable[..., Server], tmp_path: Path) -> Iterator[Store]:
    with scripted(upstream) as up:
        config = table(tmp_path, up.url, tag_ttl_seconds="-1")
        server = start(None, "--workers", "2", "--config", config, env=QUICK)
        call = live(server)
        for number, image in enumerate(PUSHED):
            push(call, f"pushed/{number}", "v1", image)
        for number, image in enumerate(PULLED):
            for path in paths(f"up.site/team/{number}", image):
                assert call("GET", path).status == 200
        begun = server.directory / "state/begun"
        wait_for(lambda: not list(begun.glob("*/*/*.json")), 60, "completion")
        yield Store(server, contents(server.storage))


@pytest.mark.files
def test_random_flips_are_found_by_one_pass_and_mended(store: Store, tmp_path: Path) -> None:
    server, rng = store.server, random.Random(7)
    names = [f"pushed/{number}:v1" for number in range(len(PUSHED) // 2)]
    assert store.run("save", "-o", str(tmp_path / "bundle.tar"), *names).returncode == 0
    flipped = rng.sample(sorted(store.good), FLIPS)
    for path in flipped:
        flip_silently(path, rng)
    with ThreadPoolExecutor(1) as pool:  # reads mend what is pulled through: only the pushed ones
        pulls = pool.submit(pull_all, server, "pushed", PUSHED)
        store.scrub()
        pulls.result()
    blobs = {str(path.relative_to(server.storage)) for path in flipped if "blobs" in path.parts}
    chunks = len(flipped) - len(blobs)
    found = store.told()
    of_pushed = {digest_of(data) for image in PUSHED for data in (image.manifest, *image.blobs)}
    lasting = {path for path in blobs if f"sha256:{Path(path).name}" in of_pushed}
    wait_for(lambda: damaged_now(server) == len(lasting), 60, "mending from the upstream")
    assert found >= blobs
    bad = {str(path.relative_to(server.storage)) for path in store.bad()}
    # Chunk hashes are known again when the blob is good again.
    assert bad - {path.replace("blobs/", "chunks/") for path in lasting} == lasting
    assert pull_all(server, "up.site/team", PULLED) == 0
    assert lasting and pull_all(server, "pushed", PUSHED)
    page = server.request("GET", "/").text
    assert "damaged or missing" in page and "pushed/" in page

    done = store.run("repair", "--from", str(tmp_path / "bundle.tar"))
    from_bundle = done.stdout.count("mended ")
    assert from_bundle and "Traceback" not in done.stderr
    for number in range(len(PUSHED) // 2, len(PUSHED)):
        push(live(server), f"pushed/{number}", "v1", PUSHED[number])
    assert store.bad() == set()
    assert pull_all(server, "pushed", PUSHED) == 0
    verified = store.run("verify")
    assert verified.returncode == 0, verified.stdout + verified.stderr
    store.scrub()
    assert damaged_now(server) == 0
    assert len(list((server.storage / "trash/damaged").iterdir())) >= len(blobs)
    record(
        "300 random byte flips",
        f"a byte flipped in each of {FLIPS} files of content, pushed and pulled",
        "all found by one pass, all mended when a good source exists, none served",
        f"{len(found & blobs)} of {len(blobs)} found and {chunks} chunk hashes mended;"
        f" {len(blobs) - len(lasting)} from the upstream, {from_bundle} from a bundle,"
        f" {len(lasting) - from_bundle} by a push; 0 wrong bodies",
    )


@pytest.mark.files
def test_a_pass_goes_on_after_kill(start: Callable[..., Server]) -> None:
    """What was read before is not read again, and nothing is left out."""
    env = {"DISTSERVER_SCRUB_BYTES_PER_SECOND": "1000000"}
    server = start(None, "--workers", "1", env={**env, "DISTSERVER_SCRUB_DAYS": "0"})
    for number in range(40):
        push(live(server), "kill/site", f"v{number}", make_image(f"kill {number}", 150_000))
    good = contents(server.storage)
    files, rng = sorted(path for path in good if "blobs" in path.parts), random.Random(3)
    flipped = {str(path.relative_to(server.storage)) for path in files[::5]}
    for path in files[::5]:
        flip_silently(path, rng)
    server.kill()
    server = start(None, "--workers", "1", env=env)
    store = Store(server, good)
    wait_for(lambda: len(str(store.progress().get("position", ""))) > len("blobs/"), 60, "a part")
    server.kill()
    half, before = store.progress(), store.told()
    again = start(None, "--workers", "1", env=env)
    wait_for(lambda: store.progress().get("ended"), 60, "the rest")
    assert 0 < len(before) < len(flipped)
    assert f"reading on behind {half['position']}" in again.log
    assert store.told() >= flipped
    assert store.progress()["last_bytes"] == sum(path.stat().st_size for path in files)


@pytest.mark.files
def test_a_set_is_mended_from_its_replicas_and_from_another_storage(
    start: Callable[..., Server], tmp_path: Path
) -> None:
    roots, rng = tuple(tmp_path / name for name in "abc"), random.Random(8)
    env, images = {**QUICK, "DISTSERVER_HOT_BYTES": "0"}, PUSHED[: count(6, 40)]
    server = start(None, "--workers", "1", storage=tuple(map(str, roots)), env=env)
    for number, image in enumerate(images):
        push(live(server), f"pushed/{number}", "v1", image)
    wait_for(lambda: are_equal(roots), 30, "three copies: two were enough for the pushes")
    shutil.copytree(roots[0], tmp_path / "old")
    store = Store(server, contents(roots[0]), tuple(map(str, roots)))
    files = sorted(store.good)
    for path in files[::2]:
        flip_silently(path, rng)
    store.scrub()
    assert are_equal(roots) and store.bad() == set()
    assert len(list((roots[0] / "trash/damaged").iterdir())) == len(
        [path for path in files[::2] if "blobs" in path.parts]
    )

    lost = [path for path in files if "blobs" in path.parts][:2]
    for root in roots:
        flip(root / lost[0].relative_to(roots[0]), rng)
        (root / lost[1].relative_to(roots[0])).unlink()
    store.scrub()
    wait_for(lambda: damaged_now(server) == 2, 30, "the count")
    done = store.run("repair", "--from", str(tmp_path / "old"))
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("mended ") == 2
    wait_for(lambda: are_equal(roots), 30, "three good copies")
    assert store.bad() == set() and pull_all(server, "pushed", images) == 0
    record(
        "300 random byte flips",
        f"a byte flipped in {len(files[::2])} files of one replica of three, one on all of them",
        "all found by one pass, all mended when a good source exists, none served",
        "all mended from the other replicas; what no replica had from another storage",
    )
