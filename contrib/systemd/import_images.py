#!/usr/bin/env python3
"""Import the image archives of a directory into containerd, and pin them.

For distserver-import.service: what the kubelet needs before any registry runs. Pinned, since the
kubelet's garbage collection removes images that no pod uses yet. Again and again is fine. An
archive that cannot be imported is named and does not stop the others; the exit code is 1 then.
The lock files that `distserver save` writes beside its bundles are no archives.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

CTR = ("ctr", "--namespace", "k8s.io", "images")
PIN = "io.cri-containerd.pinned=pinned"
IMPORT_SECONDS, ASK_SECONDS = 1200, 60
UNPACKERS = {".gz": "gzip", ".tgz": "gzip", ".zst": "zstd"}
MAX_JSON_BYTES = 16 << 20


class Failed(Exception):
    """An archive was not imported; the text says why."""


def main(directory: str) -> int:
    """Import every archive of a directory; return the exit code."""
    found = sorted(Path(directory).iterdir())
    archives = [path for path in found if path.name[0] != "." and path.suffix != ".lock"]
    failed = [path.name for path in archives if not imported(path)]
    if failed:
        print(f"{len(failed)} of {len(archives)} archives failed: {', '.join(failed)}")
    return 1 if failed else 0


def imported(path: Path) -> bool:
    """Import one archive and say what came of it."""
    try:
        names = names_in(path)
        feed(path)
        for name in names:
            pin(name)
    except (Failed, OSError, EOFError, ValueError, tarfile.TarError) as exc:
        print(f"{path.name}: FAILED: {exc}", flush=True)
        return False
    print(f"{path.name}: {' '.join(sorted(names))}", flush=True)
    return True


def names_in(path: Path) -> set[str]:
    """Return the full names of an archive's images, as containerd will have them.

    Raises: Failed, OSError, TarError, ValueError.
    """
    index: Any = {}
    docker: Any = []
    with opened(path) as stream, tarfile.open(fileobj=stream, mode="r|") as archive:
        for member in archive:
            if member.name in ("index.json", "manifest.json"):
                file = archive.extractfile(member)
                if file is None or member.size > MAX_JSON_BYTES:
                    raise Failed(f"{member.name} in it cannot be read")
                found = json.load(file)
                index, docker = (found, docker) if member.name[0] == "i" else (index, found)
    names = set(filter(None, map(annotated, index.get("manifests", []))))
    if not index:
        names = {full_name(tag) for image in docker for tag in image.get("RepoTags") or []}
    if not names:
        raise Failed("it names no image in full, so no pod could ask for one")
    return names


def annotated(descriptor: dict[str, Any]) -> str | None:
    """Return the full name in a member of an OCI layout; a bare tag is none."""
    said = descriptor.get("annotations") or {}
    name = said.get("io.containerd.image.name")
    reference = said.get("org.opencontainers.image.ref.name", "")
    return str(name) if name else full_name(reference) if "/" in reference else None


def full_name(name: str) -> str:
    """Return a name with its host, by docker's rule: `app:v1` is docker.io/library/app:v1."""
    host, slash, _ = name.partition("/")
    if slash and ("." in host or ":" in host or host == "localhost"):
        return name
    return f"docker.io/{name}" if slash else f"docker.io/library/{name}"


def feed(path: Path) -> None:
    """Let containerd import an archive. Raises: Failed."""
    with opened(path) as stream:
        ctr("import", "-", stdin=stream)


def pin(name: str) -> None:
    """Keep an image from garbage collection. Raises: Failed."""
    ctr("label", name, PIN, seconds=ASK_SECONDS)


@contextmanager
def opened(path: Path) -> Iterator[IO[bytes]]:
    """Lend the unpacked bytes of an archive. Raises: Failed, OSError."""
    unpacker = UNPACKERS.get(path.suffix)
    if not unpacker:
        with path.open("rb") as file:
            yield file
        return
    if not shutil.which(unpacker):
        raise Failed(f"the command {unpacker} is needed to unpack it")
    command = (unpacker, "--decompress", "--stdout", str(path))
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:  # noqa: S603
        try:
            yield process.stdout  # type: ignore[misc]  # not None, it is a pipe
        finally:
            process.kill()


def ctr(
    verb: str, *arguments: str, seconds: float = IMPORT_SECONDS, stdin: IO[bytes] | None = None
) -> None:
    """Ask containerd to do something with images. Raises: Failed."""
    try:
        done = subprocess.run(  # noqa: S603
            (*CTR, verb, *arguments),
            stdin=stdin,
            capture_output=True,
            text=True,
            timeout=seconds,
        )
    except FileNotFoundError as exc:
        raise Failed("ctr, containerd's command, is not installed") from exc
    except subprocess.TimeoutExpired as exc:
        raise Failed(f"containerd did not finish within {seconds:g} s") from exc
    if done.returncode:
        lines = done.stderr.strip().splitlines() or [f"ctr ended with {done.returncode}"]
        raise Failed(f"ctr images {verb}: {lines[-1]}")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
