"""Where the runtimes of the node pull from, and whether somebody answers there."""

from __future__ import annotations

from collections.abc import Iterator

from distserver.nodes.apply import NodeFiles
from distserver.nodes.doctor.facts import Facts
from distserver.nodes.doctor.findings import STOP, WARN, Finding, stop, warn
from distserver.nodes.doctor.server import endpoint_findings
from distserver.nodes.plan import Runtime
from distserver.nodes.runtimes.containerd_config import CERTS, FILE, read_config

OF_KUBERNETES = ("containerd", "k3s", "rke2", "cri-o")


def pulling(facts: Facts) -> Iterator[Finding]:
    """Each runtime has endpoints, and at least one of them answers."""
    for runtime in facts.runtimes:
        if runtime.endpoints(facts.node):
            yield from _answering(runtime, facts)
        else:
            yield _without(runtime, facts)


def _without(runtime: Runtime, facts: Facts) -> Finding:
    needed = facts.kubelet and runtime.name in OF_KUBERNETES
    return Finding(
        STOP if needed and not _other(runtime, facts) else WARN,
        f"{runtime.name} pulls from the registries themselves",
        "without a network it pulls nothing",
        f"distserver node-config write --runtime {runtime.name} --endpoint http://HOST:5000",
    )


def _other(runtime: Runtime, facts: Facts) -> bool:
    """Whether another runtime is set up, and this one may not be the kubelet's."""
    return any(
        one.endpoints(facts.node)
        for one in facts.runtimes
        if one is not runtime and one.name in OF_KUBERNETES
    )


def _answering(runtime: Runtime, facts: Facts) -> Iterator[Finding]:
    authority = NodeFiles(facts.node).authority(runtime.family)
    asked = facts.ask(runtime.endpoints(facts.node), authority)
    dead = []
    for endpoint, answer in asked.items():
        if reason := answer.problem or answer.trouble:
            dead.append(f"{endpoint} ({reason})")
        else:
            yield from endpoint_findings(endpoint, answer, facts.now)
    if not dead:
        return
    if len(dead) == len(asked):
        yield stop(
            f"{runtime.name}: no server is of use: {', '.join(dead)}",
            "the node pulls nothing from us",
            "start or mend the servers, or name others: distserver node-config write",
        )
    else:
        yield warn(
            f"{runtime.name}: of no use: {', '.join(dead)}",
            "the node goes on with the next one, but there is one less to lose",
            "start or mend it, or name another: distserver node-config write",
        )


def config_path(facts: Facts) -> Iterator[Finding]:
    """containerd before 2.2 looks at no hosts.toml unless it is told to."""
    config = read_config(facts.node)
    if config.there and not config.config_path and facts.node.exists(CERTS):
        yield warn(
            f"{FILE} sets no config_path",
            f"containerd before 2.2 does not look into {CERTS} then",
            "distserver node-config write shows the lines to add; systemctl restart containerd",
        )
