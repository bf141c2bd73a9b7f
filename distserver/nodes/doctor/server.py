"""Checks of the server itself: who starts it, its own image, its mode, its certificate."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from distserver.bundle.saving.own import OWN_IMAGE
from distserver.nodes.certificates import Validity, validity, validity_of_pem
from distserver.nodes.doctor.facts import FOLDERS, UNIT, Facts
from distserver.nodes.doctor.findings import Finding, ok, stop, warn
from distserver.nodes.endpoints import Answer, Endpoint
from distserver.nodes.node import MAX_FILE_BYTES
from distserver.proxy.upstream.mode import Mode

SOON_DAYS = 30


def started_at_boot(facts: Facts) -> Iterator[Finding]:
    """A unit, or a pod whose image is there before the network is."""
    if facts.unit_enabled:
        yield ok(f"{UNIT} is enabled: systemd starts the server")
    elif facts.archives:
        yield ok(f"our own image is imported at boot: {', '.join(facts.archives)}")
    else:
        yield stop(
            "nothing starts the server here: no enabled unit, no archive of its own image",
            f"the image {OWN_IMAGE} of its own pod cannot come from the server that it shall be",
            f"systemctl enable {UNIT}; or for a pod: distserver image save, into {_folder(facts)}",
        )


def mode(facts: Facts) -> Iterator[Finding]:
    """How it deals with upstreams; a switch outlives restarts, so it is easily forgotten."""
    switch = Mode(Path(facts.config.state), facts.config.mode)
    switched = switch.switched()
    if switched is None or switched == switch.configured:
        yield ok(f"the mode is {switch.configured}")
        return
    yield warn(
        f"the mode was switched to {switched}; the configuration says {switch.configured}",
        "a switch outlives restarts",
        "distserver mode configured    (if it is not meant)",
    )


def certificate(facts: Facts) -> Iterator[Finding]:
    """The server's certificate file."""
    config = facts.config
    if not config.tls_cert:
        return
    mend = "put a certificate there that is good for the whole journey, with its key"
    try:
        for path in (config.tls_key, config.tls_cert):
            with Path(path).open("rb") as file:
                pem = file.read(MAX_FILE_BYTES)
        found = validity_of_pem(pem)
    except (OSError, ValueError) as exc:
        reason = getattr(exc, "strerror", None) or exc
        yield stop(f"{path}: {reason}", "the server does not start without it", mend)
        return
    yield _validity(config.tls_cert, found, facts.now, mend)


def answers(facts: Facts) -> Iterator[Finding]:
    """The servers that were named on the command line."""
    for endpoint, answer in facts.ask(facts.endpoints, b"").items():
        yield from endpoint_findings(endpoint, answer, facts.now)


def endpoint_findings(endpoint: Endpoint, answer: Answer, now: float) -> Iterator[Finding]:
    """Whether an endpoint answers, and how long its certificate is good."""
    if answer.problem:
        yield stop(
            f"{endpoint} does not answer: {answer.problem}",
            "nodes that have no other server pull nothing",
            "start the server, or name another; distserver node-config show",
        )
        return
    if answer.trouble:
        yield stop(
            f"{endpoint} answers, but its storage does not: {answer.trouble}",
            "what it held cannot be pulled from it",
            "distserver doctor on that server",
        )
    else:
        yield ok(f"{endpoint} answers")
    if answer.certificate:
        mend = "give the server a certificate that is good for the whole journey"
        yield _validity(str(endpoint), validity(answer.certificate), now, mend)


def _validity(name: str, found: Validity, now: float, mend: str) -> Finding:
    days = (found.until - now) / 86400
    why = "runtimes refuse a server whose certificate does not hold"
    if now < found.since:
        return stop(
            f"the certificate of {name} is not valid yet, by this clock", why, "date; " + mend
        )
    if days < 0:
        return stop(
            f"the certificate of {name} ended {-days:.0f} days ago, by this clock", why, mend
        )
    if days < SOON_DAYS:
        return warn(f"the certificate of {name} ends in {days:.0f} days", why, mend)
    return ok(f"the certificate of {name} is good for {days:.0f} days")


def _folder(facts: Facts) -> str:
    known = zip(("/etc/rancher/k3s", "/etc/rancher/rke2"), FOLDERS, strict=False)
    return next((folder for place, folder in known if facts.node.exists(place)), FOLDERS[-1])
