"""Referrers of a held image, when what their upstream lists does not come."""

from __future__ import annotations

import json
from pathlib import Path

from distserver.config import UpstreamConfig
from distserver.oci.manifests import OCI_MANIFEST
from tests.proxy.scripted import Asked, Reply
from tests.proxy.world import World, descriptor, digest, image, pull, world


def listed(w: World, subject: str) -> tuple[int, int]:
    """Status, and how many referrers ours lists."""
    status, body, _ = w.get(f"/v2/up.site/team/app/referrers/{subject}")
    return status, len(json.loads(body).get("manifests", ()))


def test_known_referrers_are_listed_when_a_new_one_does_not_come(tmp_path: Path) -> None:
    with world(tmp_path, UpstreamConfig(tag_ttl_seconds=0)) as w:
        pull(w)
        subject = descriptor(w.manifests["v1"], OCI_MANIFEST)
        known, new = (image(subject=subject, annotations={"n": n}) for n in "12")
        w.manifests[digest(known)] = known
        name = digest(w.manifests["v1"])
        w.referrers[name] = [descriptor(known, OCI_MANIFEST)]
        assert listed(w, name) == (200, 1)
        w.referrers[name].append(descriptor(new, OCI_MANIFEST))
        script = w.script

        def failing(asked: Asked) -> Reply:
            return (500, {}, b"") if digest(new) in asked.path else script(asked)

        w.script = failing  # type: ignore[method-assign]
        assert listed(w, name) == (200, 1)
