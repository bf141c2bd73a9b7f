"""A storage whose files arrive one by one from another, in any order, as Syncthing brings them."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

from tests.faults.images import Answer, Call, Image, digest_of

LOCAL = ("tmp/", "hints/")
"""What of a storage stays on its node."""


def files_of(storage: Path) -> list[Path]:
    """What of a storage travels, relative to it."""
    found = (path.relative_to(storage) for path in sorted(storage.rglob("*")) if path.is_file())
    return [path for path in found if not str(path).startswith(LOCAL) and _travels(path)]


def _travels(path: Path) -> bool:
    """Whether it is no file of Syncthing's own, and no part of an upload that is not finished."""
    return not any(part.startswith(".") or part == "_uploads" for part in path.parts)


def arrive(source: Path, target: Path, seed: object) -> Iterator[Path]:
    """Bring what target lacks, in an order of the seed's; yield after each file.

    Some come at first under the temporary name that Syncthing gives to what is on its way.
    """
    rng = random.Random(str(seed))
    lacking = [path for path in files_of(source) if not (target / path).exists()]
    rng.shuffle(lacking)
    for path in lacking:
        place = target / path
        place.parent.mkdir(parents=True, exist_ok=True)
        data = (source / path).read_bytes()
        temporary = place.with_name(f".syncthing.{place.name}.tmp")
        temporary.write_bytes(data[: len(data) // 2])
        if rng.random() < 0.3:
            yield path
        temporary.write_bytes(data)
        temporary.rename(place)
        yield path


def pulled(call: Call, name: str, reference: str, images: list[Image]) -> Image | None:
    """Pull as clients do; return which of the images it was, None if the server had none to give.

    Fails the test if it gets half an image, or a wrong byte.
    """
    answer = call("GET", f"/v2/{name}/manifests/{reference}")
    if answer.status != 200:
        assert answer.status in (404, 503), answer
        return None
    (image,) = [image for image in images if image.manifest == answer.body]
    for blob in image.blobs:
        found: Answer = call("GET", f"/v2/{name}/blobs/{digest_of(blob)}")
        assert (found.status, found.body) == (200, blob), (reference, found)
    return image
