"""crane and helm, which know no mirrors: the registry is named in the path."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.clients.run import Client
from tests.links.upstream import Upstream
from tests.nodes.conftest import Show, World

pytestmark = pytest.mark.client


def test_crane(world: World, tmp_path: Path, show: Show) -> None:
    crane = Client("crane", tmp_path / "home", "--insecure")
    for registry, image in world.images.items():
        there = world.in_path(registry)
        assert crane("digest", there) == image.digest
        manifest = crane("manifest", there)
        assert manifest.encode() == image.manifest
        crane("pull", "--format", "oci", there, str(tmp_path / registry))
        pulled = tmp_path / registry / "blobs" / "sha256" / image.layer[7:]
        assert pulled.stat().st_size == image.size
    short = f"{world.host}/docker.io/app:v1"
    assert crane("digest", short) == world.images["docker.io"].digest
    show("crane, names with the registry in the path")


def test_helm(world: World, backends: Mapping[str, Upstream], tmp_path: Path) -> None:
    """A chart that somebody pushed to quay.io, pulled through us."""
    helm = Client("helm", tmp_path / "home")
    helm("create", "app")
    helm("package", "app")
    chart = helm.home / "app-0.1.0.tgz"
    content = chart.read_bytes()
    helm("push", "--plain-http", chart.name, f"oci://{backends['quay.io'].host}/charts")
    chart.unlink()
    there = f"oci://{world.host}/quay.io/charts/app"
    helm("pull", "--plain-http", there, "--version", "0.1.0")
    assert chart.read_bytes() == content
    assert "name: app" in helm("show", "chart", "--plain-http", there, "--version", "0.1.0")
