"""The images of a cluster's pods, from the Kubernetes API that every pod can reach."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import requests

ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
LIMIT, MAX_PAGES, MAX_PAGE_BYTES = 250, 1000, 32 << 20
CONNECT_SECONDS, READ_SECONDS, ALL_SECONDS = 3.0, 5.0, 20.0
_KINDS = ("containers", "initContainers", "ephemeralContainers")
_STATUSES = ("containerStatuses", "initContainerStatuses", "ephemeralContainerStatuses")


class NotTold(Exception):
    """The images in use cannot be learned now; the text says why."""


@dataclass(frozen=True, slots=True)
class Cluster:
    """The API server, and the files that let us ask it.

    url  https://HOST:PORT
    """

    url: str
    account: Path = ACCOUNT

    def images(self) -> list[str]:
        """Return the images of all pods: names as they were asked for, and digests that run.

        Raises: NotTold. Blocks on: the API, ALL_SECONDS at most, and READ_SECONDS more.
        """
        deadline, token = time.monotonic() + ALL_SECONDS, ""
        found: set[str] = set()
        try:
            with requests.Session() as session:
                session.trust_env = False
                for _ in range(MAX_PAGES):
                    page = self._page(session, token, deadline)
                    found.update(image for pod in page["items"] for image in images_of(pod))
                    token = page["metadata"].get("continue") or ""
                    if not token:
                        return sorted(found)
        except (OSError, ValueError, LookupError, TypeError, AttributeError) as exc:
            raise NotTold(f"the Kubernetes API: {exc or type(exc).__name__}") from exc
        raise NotTold(f"the Kubernetes API: more than {MAX_PAGES} pages of pods")

    def _page(self, session: requests.Session, token: str, deadline: float) -> dict[str, Any]:
        bearer = (self.account / "token").read_text().strip()
        with session.get(
            f"{self.url}/api/v1/pods",
            params={"limit": str(LIMIT), **({"continue": token} if token else {})},
            headers={"Authorization": f"Bearer {bearer}", "Accept": "application/json"},
            verify=str(self.account / "ca.crt"),
            timeout=(CONNECT_SECONDS, READ_SECONDS),
            allow_redirects=False,
            stream=True,
        ) as answer:
            if answer.status_code != 200:
                raise NotTold(f"the Kubernetes API answers {answer.status_code} to a list of pods")
            page: dict[str, Any] = json.loads(_body(answer, deadline))
            return page


def in_cluster(environ: Mapping[str, str], account: Path = ACCOUNT) -> Cluster | None:
    """Return the cluster that this process runs in; None outside one."""
    host, port = environ.get("KUBERNETES_SERVICE_HOST"), environ.get("KUBERNETES_SERVICE_PORT")
    if not host or not (account / "token").exists():
        return None
    host = f"[{host}]" if ":" in host else host
    return Cluster(f"https://{host}:{port or 443}", account)


def images_of(pod: Mapping[str, Any]) -> Iterator[str]:
    """Yield the images that a pod names, and those that its node says it runs."""
    for kind in _KINDS:
        yield from (each["image"] for each in pod["spec"].get(kind) or () if each.get("image"))
    for kind in _STATUSES:
        for status in pod.get("status", {}).get(kind) or ():
            yield from filter(None, (status.get("image"), status.get("imageID")))


def _body(answer: requests.Response, deadline: float) -> bytes:
    parts, size = [], 0
    for data in answer.iter_content(64 << 10):
        parts.append(data)
        size += len(data)
        if size > MAX_PAGE_BYTES:
            raise NotTold(f"the Kubernetes API: a page of more than {MAX_PAGE_BYTES >> 20} MiB")
        if time.monotonic() > deadline:
            raise NotTold(f"the Kubernetes API: not done in {ALL_SECONDS:.0f} s")
    return b"".join(parts)
