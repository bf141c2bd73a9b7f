"""An upstream with one image for live servers, and a configuration that names it."""

from __future__ import annotations

from pathlib import Path

from tests.proxy.scripted import Asked, Reply
from tests.proxy.world import CONFIG, LAYER, digest, image

IMAGE = image()
BODIES = {digest(data): data for data in (IMAGE, CONFIG, LAYER)}


def upstream(asked: Asked) -> Reply:
    """A registry that has one image, in whatever repository."""
    reference = asked.path.rpartition("/")[2]
    if reference in BODIES and "/blobs/" in asked.path:
        return 200, {}, BODIES[reference]
    if reference in ("v1", digest(IMAGE)):
        kind = "application/vnd.oci.image.manifest.v1+json"
        return 200, {"Content-Type": kind, "Docker-Content-Digest": digest(IMAGE)}, IMAGE
    return 404, {}, b""


def table(tmp_path: Path, url: str, **keys: str) -> str:
    """A configuration with up.site at a URL and down.site at none; return its path."""
    file = tmp_path / "config.toml"
    more = "".join(f"{key} = {value}\n" for key, value in keys.items())
    file.write_text(
        f"{more}"
        f'[upstream."up.site"]\nurl = ["{url}"]\ninsecure = true\n'
        '[upstream."down.site"]\nurl = ["http://127.0.0.1:9"]\ninsecure = true\n'
    )
    return str(file)
