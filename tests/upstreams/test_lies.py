"""R-06: an upstream that lies. Nothing wrong is kept, and no wrong body looks complete."""

from __future__ import annotations

import itertools
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass

import pytest

from tests.counts import count
from tests.figures import record
from tests.live import Server, running, start_server
from tests.upstreams import acts
from tests.upstreams.asking import Asking, difference
from tests.upstreams.images import INDEX, MANIFEST, Image, digest_of, make, push
from tests.upstreams.memory import Memory
from tests.upstreams.proxy import Act, FaultProxy, Rule, fault_proxy
from tests.upstreams.registries import Registry, registry
from tests.upstreams.report import patiently
from tests.upstreams.site import Place

pytestmark = pytest.mark.fault
MIB = 1 << 20
LAYER_BYTES = 3 * MIB
GROWTH_BYTES = 32 * MIB
HEALED_SECONDS = 60.0
LIES: dict[str, Act] = {
    "a wrong byte at the start": acts.flipping(20),
    "a wrong byte at the end": acts.flipping(-20),
    "a wrong byte in what comes slowly": acts.flipping(20, pause=0.05),
    "a length that is too long": acts.announcing(1000),
    "a length that is too short": acts.announcing(-100),
    "an enormous length": acts.enormous,
    "no bytes": acts.empty,
    "an endless body": acts.endless,
    "a wrong Docker-Content-Digest": acts.wrong_digest,
    "the type of a page": acts.typed("text/html"),
    "the type of another manifest": acts.typed(MANIFEST),
    "a gzipped body": acts.gzipped,
    "a captive portal's page": acts.portal,
}
BLOBS = "^GET .*/blobs/"
NAMELESS = "blobs that no manifest named yet"
PARTS = {"manifests": "/manifests/", "blobs": BLOBS, NAMELESS: BLOBS}
TELLING = ("a wrong byte at the start", "a length that is too short", "an endless body")
CASES = [
    (lie, part)
    for lie, part in itertools.product(LIES, PARTS)
    if part != NAMELESS or lie in TELLING or count(0, 1)
]


@dataclass(frozen=True)
class Lying:
    """An upstream that lies about a part of images, and our server before all of these."""

    ours: Server
    place: Place
    proxy: FaultProxy


Key = tuple[str, str]


@pytest.fixture(scope="module")
def lying(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mapping[Key, Lying]]:
    """By lie and part. Each is an upstream of its own: none is left alone for another's lies."""
    directory = tmp_path_factory.mktemp("lies")
    config = directory / "config.toml"
    with ExitStack() as stack:
        upstream = stack.enter_context(registry(directory / "upstream", "registry"))
        keys = [("nothing", ""), *CASES]
        proxies = {key: stack.enter_context(fault_proxy(upstream.address)) for key in keys}
        places = {key: _place(upstream, number) for number, key in enumerate(keys)}
        config.write_text("".join(_table(places[key], proxies[key]) for key in keys))
        ours = start_server(directory / "ours", "--workers", "2", "--config", str(config))
        stack.enter_context(running(ours))
        for _ in range(4):  # memory for what every pull needs is no growth
            assert not Asking(ours, places[keys[0]]).pull()
        yield {key: Lying(ours, places[key], proxies[key]) for key in keys}


@pytest.mark.parametrize(("lie", "part"), CASES)
def test_R_06_a_lie_is_neither_kept_nor_passed_on(
    lying: Mapping[Key, Lying], lie: str, part: str
) -> None:
    """Asked while the upstream lies, and then while it says nothing: what is kept would be seen."""
    liar = lying[lie, part]
    memory = Memory(liar.ours)
    for act in (LIES[lie], acts.answering(503)):
        liar.proxy.rule(Rule(act, PARTS[part] if act is LIES[lie] else "."))
        if part == NAMELESS:
            _ask_for_blobs(Asking(liar.ours, liar.place), liar.place.image)
        _ask_for_all(Asking(liar.ours, liar.place), liar.place.image)
    growth = memory.growth()
    liar.proxy.rule()
    aim = "0 kept, 0 complete wrong bodies, < 32 MiB more memory"
    record("R-06", f"{lie}, in {part}", aim, f"0, 0, {growth / MIB:.1f} MiB")
    assert growth < GROWTH_BYTES


def test_R_06_afterwards_every_image_pulls_and_verifies(lying: Mapping[Key, Lying]) -> None:
    """Nothing that was kept under a lie stands in the way; and all that is kept has its digest."""
    for key, liar in lying.items():
        assert (key, patiently(Asking(liar.ours, liar.place).pull, HEALED_SECONDS)) == (key, "")
    ours = next(iter(lying.values())).ours
    where = ("--storage", ours.storage, "--state", ours.directory / "state")
    command = [sys.executable, "-m", "distserver", "verify", *where]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr


def _place(upstream: Registry, number: int) -> Place:
    repository = f"lie/{number}"
    image = make(repository, LAYER_BYTES)
    push(image, upstream.url, repository)
    return Place(f"lie{number}.site", repository, image)


def _table(place: Place, proxy: FaultProxy) -> str:
    return f'[upstream."{place.name}"]\nurl = ["{proxy.url}"]\ninsecure = true\n'


def _ask_for_all(asking: Asking, image: Image) -> None:
    """Each part is asked for, though a client would have stopped at the first that fails."""
    tag = asking.tag("GET")
    assert "COMPLETE" not in difference(tag, image.index)
    assert tag.status != 200 or tag.headers["Content-Type"] == INDEX
    for wanted in image.manifests:
        assert "COMPLETE" not in difference(asking.manifest(digest_of(wanted)), wanted)
    _ask_for_blobs(asking, image)


def _ask_for_blobs(asking: Asking, image: Image) -> None:
    for wanted in image.blobs:
        assert "COMPLETE" not in difference(asking.blob(digest_of(wanted)), wanted)
