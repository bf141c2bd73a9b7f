"""An upstream that wants credentials, its own realm, and places that must not get them."""

from __future__ import annotations

import base64
import itertools
import json
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.live import Server, running, start_server
from tests.upstreams.acts import asking_for_token
from tests.upstreams.asking import Answer, Asking
from tests.upstreams.certificates import certificate
from tests.upstreams.exchange import Exchange
from tests.upstreams.images import make, push
from tests.upstreams.names import asking, name_server
from tests.upstreams.proxy import Act, FaultProxy, Rule, fault_proxy, pass_on
from tests.upstreams.registries import Registry, registry
from tests.upstreams.single import table
from tests.upstreams.site import Place

HOST, REALM_HOST = "registry.up.test", "auth.up.test"
USER, PASSWORD, TOKEN = "alice", "CANARY-pass-71c0", "CANARY-token-5e2d"
BASIC = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
SECRETS = (PASSWORD, TOKEN, BASIC, base64.b64encode(PASSWORD.encode()).decode().rstrip("="))
LAYER_BYTES = 5_000
_repositories = itertools.count()


@dataclass
class Trap:
    """All parts, and every answer that our server gave.

    guard, tls  the upstream: passes on what carries the token, else sends to the realm
    realm       gives the token for the password
    cdn         the registry at another port, open to all
    evil        whoever gets a secret here has stolen it
    """

    ours: Server
    registry: Registry
    guard: FaultProxy
    tls: FaultProxy
    realm: FaultProxy
    cdn: FaultProxy
    evil: FaultProxy
    answers: list[Answer] = field(default_factory=list, repr=False)

    def rest(self) -> None:
        """Let every part do its duty, but for the evil one."""
        honest = f"http://{REALM_HOST}:{self.realm.port.number}/token"
        self.guard.rule(Rule(guarding(honest, pass_on)))
        self.tls.rule(Rule(guarding(honest, pass_on)))
        self.realm.rule(Rule(giving_token))
        self.cdn.rule()
        self.evil.rule(Rule(asking_for_token(honest)))

    def place(self, name: str = "up.site", prefix: str = "team") -> Place:
        """An image at the upstream that nobody has asked for."""
        repository = f"{prefix}/app{next(_repositories)}"
        image = make(repository, LAYER_BYTES)
        push(image, self.registry.url, repository)
        return Place(name, repository, image)

    def ask(self, place: Place) -> Answer:
        """Ask for all parts of an image; return the answer for its tag."""
        asking, digests = Asking(self.ours, place), place.image.digests
        found = [asking.tag("GET"), *map(asking.manifest, digests[:2])]
        found += map(asking.blob, digests[2:])
        self.answers += found
        return found[0]

    def at_evil(self) -> str:
        """An authority that leads to the evil place."""
        return f"evil.test:{self.evil.port.number}"


def guarding(realm: str, then: Act) -> Act:
    """Do something to requests that carry the token; send others to a realm."""
    refuse = asking_for_token(realm)

    def act(exchange: Exchange) -> None:
        good = exchange.seen.head.get("Authorization") == f"Bearer {TOKEN}"
        (then if good else refuse)(exchange)

    return act


def giving_token(exchange: Exchange) -> None:
    """A token for whoever knows the password."""
    if exchange.seen.head.get("Authorization") != f"Basic {BASIC}":
        exchange.reply(401, {"WWW-Authenticate": "Basic"})
        return
    body = json.dumps({"token": TOKEN, "expires_in": 300}).encode()
    exchange.reply(200, {"Content-Type": "application/json"}, body)


def secrets_in(text: str) -> list[str]:
    """Which of the secrets a text holds."""
    return [secret for secret in SECRETS if secret in text]


@contextmanager
def trap(directory: Path) -> Iterator[Trap]:
    """Set everything up."""
    shown = certificate(directory, "upstream", f"DNS:{HOST}")
    with ExitStack() as stack:
        upstream = stack.enter_context(registry(directory / "upstream", "registry"))
        names = stack.enter_context(name_server())
        tls = stack.enter_context(fault_proxy(upstream.address, tls=shown.context()))
        others = [stack.enter_context(fault_proxy(upstream.address)) for _ in range(4)]
        config = _configuration(directory, (others[0], tls), shown.file)
        arguments = ("--workers", "1", "--config", str(config))
        before = asking(directory, names)
        ours = start_server(directory / "ours", *arguments, before=before)
        stack.enter_context(running(ours))
        guard, realm, cdn, evil = others
        made = Trap(ours, upstream, guard, tls, realm, cdn, evil)
        made.rest()
        yield made


def _configuration(directory: Path, upstreams: Sequence[FaultProxy], ca_file: Path) -> Path:
    password = directory / "password"
    password.write_text(PASSWORD + "\n")
    password.chmod(0o600)
    credentials = (f'username = "{USER}"', f'password_file = "{password}"', 'allow = ["team/*"]')
    plain, tls = (f"{u.url.partition(':')[0]}://{HOST}:{u.port.number}" for u in upstreams)
    encrypted = "\n".join(
        ('[upstream."tls.site"]', f'url = ["{tls}"]', f'ca_file = "{ca_file}"', *credentials, "")
    )
    config = directory / "config.toml"
    config.write_text(table("up.site", plain, *credentials) + encrypted)
    return config
