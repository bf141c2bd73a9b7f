"""Clients that push an image to a server of ours under the name of another registry."""

from __future__ import annotations

import re
import tarfile
import tempfile
from collections.abc import Callable
from pathlib import Path

from tests.clients.containerd import Containerd
from tests.clients.run import Client, unmount
from tests.links.images import Image, write_layout
from tests.live import Server

TAG = "v1"
_PUSHED = re.compile(r"digest: (sha256:[0-9a-f]{64})")
CUT = "rpc error: code = Internal desc = unexpected EOF"
"""Seldom, and between ctr 1.6 and its own containerd: no answer of a registry reads like that."""
Push = Callable[[Image, str, Path], str]
"""Push an image to HOST/NAME:TAG with a scratch directory; returns the digest that it has then."""


def by_skopeo(image: Image, there: str, scratch: Path) -> str:
    write_layout(image, scratch / "layout", TAG)
    skopeo = Client("skopeo", scratch / "home")
    copy = ("copy", "--preserve-digests", "--dest-tls-verify=false")
    skopeo(*copy, f"oci:{scratch / 'layout'}:{TAG}", f"docker://{there}")
    return image.digest


def by_crane(image: Image, there: str, scratch: Path) -> str:
    write_layout(image, scratch / "layout", TAG)
    Client("crane", scratch / "home", "--insecure")("push", str(scratch / "layout"), there)
    return image.digest


def by_podman(image: Image, there: str, scratch: Path) -> str:
    """podman packs layers anew, so its digests are its own."""
    write_layout(image, scratch / "layout", TAG)
    # podman refuses a runroot of more than 50 characters.
    with tempfile.TemporaryDirectory(prefix="podman") as runroot:
        store = ("--root", str(scratch / "root"), "--runroot", runroot, "--storage-driver", "vfs")
        podman = Client("podman", scratch / "home", *store)
        try:
            identity = podman("pull", f"oci:{scratch / 'layout'}:{TAG}").split()[-1]
            digest = scratch / "digest"
            podman("push", "--tls-verify=false", "--digestfile", str(digest), identity, there)
        finally:
            unmount(Path(runroot))
            unmount(scratch)
    return digest.read_text()


def by_docker(docker: Client) -> Push:
    """Docker packs layers anew as well."""

    def push(image: Image, there: str, scratch: Path) -> str:
        write_layout(image, scratch / "layout", TAG)
        archive = f"docker-archive:{scratch / 'image.tar'}:{there}"
        skopeo = Client("skopeo", scratch / "home")
        skopeo("copy", f"oci:{scratch / 'layout'}:{TAG}", archive)
        docker("load", "--input", str(scratch / "image.tar"))
        pushed = _PUSHED.search(docker("push", there))
        docker("rmi", "--force", there)
        assert pushed
        return pushed[1]

    return push


def by_ctr(node: Containerd, *options: str) -> Push:
    """From containerd's own store, every byte as it is."""

    def push(image: Image, there: str, scratch: Path) -> str:
        write_layout(image, scratch / "layout", TAG, there)
        archive = scratch / "image.tar"
        with tarfile.open(archive, "w", dereference=True) as tar:
            tar.add(scratch / "layout", "")
        node.ctr("images", "import", "--no-unpack", str(archive))
        push = ("images", "push", *options, there)
        done = node.ctr.attempt(*push)
        if CUT in done.stderr:
            done = node.ctr.attempt(*push)
        assert done.returncode == 0, done
        node.forget_all()
        return image.digest

    return push


def by_namespace(image: Image, server: Server, ns: str, repository: str) -> str:
    """What containerd sends from 2.3 on: `ns` on every request, that to a Location too.

    Older ones send it with pulls only, so there is no telling what their pushes are meant for.
    """
    query, base = f"ns={ns}", f"/v2/{repository}"
    for digest, path in image.blobs.items():
        found = server.request("HEAD", f"{base}/blobs/{digest}?{query}").status_code
        assert found in (200, 404), found  # anything else ends the push
        if found == 200:
            continue
        begun = server.request("POST", f"{base}/blobs/uploads/?{query}")
        assert begun.status_code == 202, begun.text
        where = f"{begun.headers['Location']}?digest={digest}&{query}"
        done = server.request("PUT", where, data=path.read_bytes())
        assert done.status_code == 201, (where, done.text)
    there = f"{base}/manifests/{TAG}?{query}"
    accept = {"Accept": f"{image.media_type}, */*"}
    found = server.request("HEAD", there, headers=accept).status_code
    assert found in (200, 404), found
    kind = {"Content-Type": image.media_type}
    done = server.request("PUT", there, data=image.manifest, headers=kind)
    assert done.status_code == 201, done.text
    return image.digest
