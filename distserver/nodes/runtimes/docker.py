"""Docker Engine: daemon.json, merged with what is there. It mirrors Docker Hub, nothing else."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any

from distserver.nodes.endpoints import Endpoint, endpoints_of
from distserver.nodes.node import Node, NodeError
from distserver.nodes.plan import File, Plan, Wish

FILE = "/etc/docker/daemon.json"
MIRRORS, INSECURE = "registry-mirrors", "insecure-registries"


class Docker:
    """dockerd as a package installs it."""

    name = family = "docker"
    restart = "systemctl reload docker"

    def plan(self, wish: Wish, node: Node) -> Plan:
        """Put our servers before other mirrors; all other settings stay."""
        settings = _settings(node)
        ours = [str(endpoint) for endpoint in wish.endpoints]
        kept = () if wish.only else (url for url in _texts(settings, MIRRORS) if url not in ours)
        settings[MIRRORS] = [*ours, *kept]
        plain = (endpoint.host for endpoint in wish.endpoints if endpoint.plain)
        if insecure := list(dict.fromkeys((*_texts(settings, INSECURE), *plain))):
            settings[INSECURE] = insecure
        text = json.dumps(settings, indent=2) + "\n"
        trusted = (f"/etc/docker/certs.d/{one.host}/ca.crt" for one in wish.secured)
        files = (File(FILE, text.encode()), *(File(path, wish.ca) for path in trusted))
        return Plan(files, tuple(_notes(wish)))

    def files(self, node: Node) -> Sequence[str]:
        """Return daemon.json."""
        return [FILE] if node.exists(FILE) else []

    def endpoints(self, node: Node) -> Sequence[Endpoint]:
        """Return the mirrors, in order."""
        return endpoints_of(_texts(_settings(node), MIRRORS))

    def installed(self, node: Node) -> bool:
        """By its configuration or its program."""
        return any(map(node.exists, ("/etc/docker", "/usr/bin/dockerd", "/usr/sbin/dockerd")))


def _settings(node: Node) -> dict[str, Any]:
    data = node.read(FILE)
    try:
        settings = json.loads(data) if data and data.strip() else {}
    except ValueError as exc:
        raise NodeError(f"{FILE}: {exc}") from exc
    if not isinstance(settings, dict):
        raise NodeError(f"{FILE} is no JSON object")
    return settings


def _texts(settings: dict[str, Any], key: str) -> list[str]:
    found = settings.get(key, [])
    if not isinstance(found, list) or not all(isinstance(text, str) for text in found):
        raise NodeError(f"{FILE}: {key} is no list of texts")
    return found


def _notes(wish: Wish) -> Iterator[str]:
    yield (
        "docker mirrors Docker Hub only. Images of other registries are pulled through us by their "
        f"long names: docker pull {wish.endpoints[0].host}/quay.io/NAME."
    )
    yield (
        "Its requests name no registry: official images work at once, those of others once the "
        'server has `hosts = ["HOST:PORT of this endpoint"]` in its table [upstream."docker.io"].'
    )
    if wish.only:
        yield (
            "--only cannot be promised: docker asks Docker Hub itself when no mirror has an image. "
            "What must not leave has to be stopped by a firewall."
        )
    if wish.registries:
        yield f"Not covered: {', '.join(wish.registries)}."
