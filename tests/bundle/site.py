"""A site of a test's own: a storage, and the commands on it, without processes."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from click.testing import CliRunner, Result

from distserver import app
from distserver.cli import main
from distserver.config import load
from distserver.oci.digests import Digest
from distserver.oci.names import Tag
from distserver.registry import Registry
from tests.bundle.archives import Image, digest_of

Make = Callable[[str], "Site"]


@dataclass(frozen=True)
class Site:
    """Commands of one site. directory has its storage and its state."""

    directory: Path

    @property
    def env(self) -> dict[str, str]:
        return {
            "DISTSERVER_STORAGE": str(self.directory / "storage"),
            "DISTSERVER_STATE": str(self.directory / "state"),
            "DISTSERVER_RESERVE_BYTES": "0",
        }

    @property
    def registry(self) -> Registry:
        return app.open_registry(load(environ=self.env).config)

    def run(self, *arguments: str | Path) -> Result:
        """Run a command; a failure must be one of ours, in words."""
        result = CliRunner().invoke(main, [*map(str, arguments)], env=self.env)
        assert result.exception is None or isinstance(result.exception, SystemExit), (
            result.exception
        )
        return result

    def do(self, *arguments: str | Path) -> dict[str, Any]:
        """Run a command that must succeed; return its summary."""
        result = self.run(*arguments, "--json")
        assert result.exit_code == 0, result.output
        summary: dict[str, Any] = json.loads(result.stdout.splitlines()[-1])
        return summary

    def refused(self, *arguments: str | Path) -> str:
        """Run a command that must fail; return what it says, short lines without a traceback."""
        result = self.run(*arguments)
        assert result.exit_code == 1, result.output
        assert "Traceback" not in result.output
        lines = result.stderr.splitlines()
        assert lines, result.output
        assert all(len(line) < 500 and line.isprintable() for line in lines), lines
        return "\n".join(lines)

    def push(self, name: str, tag: str, image: Image) -> str:
        """Put an image into the registry, as a push does; return its digest."""
        app.initialise_storage(load(environ=self.env).config)
        registry = self.registry
        for data in image.blobs:
            registry.blobs.put(name, Digest.of(data), [data])
        tags = [Tag(tag)] if tag else []
        return str(registry.manifests.put(name, None, tags, image.manifest, None).digest)

    def damage(self, image: Image) -> None:
        """Let the disk change a byte of an image's layer."""
        path = f"storage/blobs/sha256/*/{digest_of(image.layer)[7:]}"
        (stored,) = self.directory.glob(path)
        stored.chmod(0o644)
        stored.write_bytes(image.layer[:-1] + b"x")

    def images(self) -> dict[str, str]:
        """All tags with their digests."""
        lines = self.run("ls").stdout.splitlines()
        return {name: digest for name, digest in map(str.split, lines)}

    def whole(self) -> bool:
        """Whether every byte and every image of the storage is whole."""
        return self.run("verify").exit_code == 0

    def files(self) -> dict[str, int]:
        """All files of the storage, with their inodes."""
        root = self.directory / "storage"
        return {str(p): p.stat().st_ino for p in root.rglob("*") if p.is_file()}
