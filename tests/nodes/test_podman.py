"""podman, skopeo and what CRI-O reads: registries.conf with a mirror for each registry.

The mirror's location carries the registry in its path, since this library sends no `ns`.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.clients.run import Client, unmount
from tests.nodes.conftest import REPOSITORIES, TAG, Show, World, name_of

pytestmark = pytest.mark.client


def mirrors(world: World) -> str:
    """A registries.conf that sends each registry's pulls to us."""
    parts = ['unqualified-search-registries = ["docker.io"]\n']
    for registry in REPOSITORIES:
        location = f"{world.host}/{registry.replace(':', '_')}"
        parts.append(f'[[registry]]\nprefix = "{registry}"\nlocation = "{registry}"\n')
        parts.append(f'[[registry.mirror]]\nlocation = "{location}"\ninsecure = true\n')
    return "".join(parts)


def configured(client: Client, text: str, drop_in: bool = False) -> None:
    """Write the configuration where the library looks for a user's; as a drop-in if wanted."""
    directory = client.home / ".config" / "containers"
    file = directory / ("registries.conf.d/50-site.conf" if drop_in else "registries.conf")
    file.parent.mkdir(parents=True)
    file.write_text(text)


@pytest.fixture
def podman(tmp_path: Path, world: World) -> Iterator[Client]:
    # podman refuses a runroot of more than 50 characters.
    with tempfile.TemporaryDirectory(prefix="podman") as runroot:
        store = ("--root", str(tmp_path / "root"), "--runroot", runroot)
        client = Client("podman", tmp_path / "home", *store, "--storage-driver", "vfs")
        configured(client, mirrors(world))
        yield client
        unmount(Path(runroot))
        unmount(tmp_path)


def test_podman(world: World, podman: Client, show: Show) -> None:
    """By tag, by digest, and Docker Hub's image by its short names."""
    for registry, image in world.images.items():
        repository = f"{registry}/{REPOSITORIES[registry]}"
        podman("pull", name_of(registry))
        found = json.loads(podman("image", "inspect", name_of(registry)))[0]
        assert f"{repository}@{image.digest}" in found["RepoDigests"]
        podman("rmi", "--all", "--force")
        podman("pull", f"{repository}@{image.digest}")
    podman("rmi", "--all", "--force")
    for short in (f"app:{TAG}", f"docker.io/app:{TAG}"):
        podman("pull", short)
        assert podman("image", "exists", name_of("docker.io")) == ""
        podman("rmi", "--all", "--force")
    show("podman, registries.conf")


@pytest.mark.parametrize("drop_in", [False, True], ids=["one file", "drop-in"])
def test_skopeo(world: World, tmp_path: Path, show: Show, drop_in: bool) -> None:
    """The library of CRI-O, with a mirror for docker.io/library of its own in the drop-in."""
    skopeo = Client("skopeo", tmp_path / "home")
    text = mirrors(world)
    if drop_in:
        text = text.replace('"docker.io"\n', '"docker.io/library"\n').replace(
            f'"{world.host}/docker.io"', f'"{world.host}/docker.io/library"'
        )
    configured(skopeo, text, drop_in)
    for number, (registry, image) in enumerate(world.images.items()):
        target = tmp_path / str(number)
        skopeo("copy", "--preserve-digests", f"docker://{name_of(registry)}", f"dir:{target}")
        assert (target / "manifest.json").read_bytes() == image.manifest
        assert (target / image.layer[7:]).stat().st_size == image.size
    format_ = ("--no-tags", "--format", "{{.Digest}}")
    digest = world.images["docker.io"].digest
    assert skopeo("inspect", *format_, f"docker://app:{TAG}") == digest
    show(f"skopeo, registries.conf {'drop-in' if drop_in else 'file'}")
