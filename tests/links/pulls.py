"""A whole pull by plain requests."""

from __future__ import annotations

from tests.links.images import Image
from tests.links.readers import Reader, Reading


def pull(client: Reader, name: str, image: Image) -> None:
    """Pull the tag v1 and its digest, every blob whole and right at the first try.

    name  path of the repository, with /v2/
    """
    for reference in ("v1", image.digest):
        answer = client.get(f"{name}/manifests/{reference}")
        assert answer == (200, image.manifest), (reference, answer)
    for digest, path in image.blobs.items():
        reading = Reading(digest, path.stat().st_size)
        client.once(f"{name}/blobs/{digest}", reading)
        assert reading.answers == ["200"] and reading.right, (digest, reading)
