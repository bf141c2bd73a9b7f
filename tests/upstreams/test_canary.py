"""R-19: a credential of an upstream goes to this upstream and its realm, and nowhere else."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from urllib.parse import quote

import pytest

from tests.figures import record
from tests.upstreams import acts
from tests.upstreams.asking import Asking
from tests.upstreams.proxy import Rule
from tests.upstreams.report import patiently
from tests.upstreams.trap import HOST, REALM_HOST, TOKEN, Trap, guarding, secrets_in, trap

pytestmark = pytest.mark.fault
HEALED_SECONDS = 40.0
REALMS = (
    "http://{evil}/token",
    "HTTP://{evil}/token",
    "//{evil}/token",
    f"http://{HOST}@{{evil}}/token",
    f"http://{HOST}:x@{{evil}}/token",
    f"http://{{evil}}\\@{HOST}/token",
    f"http://{{evil}}#@{HOST}/token",
    f"http://{{evil}}?@{HOST}/token",
    f"http://{HOST}.{{evil}}/token",
    "http://not-up.test:{port}/token",
    "http://notup.test:{port}/token",
    "http://test:{port}/token",
)
"""Token servers that a forged challenge names; each name leads to the evil place."""
NAMES = (
    "{evil}",
    "evil.test",
    "127.0.0.1:{port}",
    "up.site@{evil}",
    "{evil}/up.site",
    "up.site\r\nHost: {evil}",
    "http://{evil}",
)
"""Values of `?ns=` that no configuration has."""


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Trap]:
    with trap(tmp_path_factory.mktemp("canary")) as made:
        yield made


@pytest.fixture
def armed(shared: Trap) -> Iterator[Trap]:
    """The trap when all is well, so that our server asks without a pause; checked at the end."""
    shared.rest()
    honest = shared.place()
    assert patiently(Asking(shared.ours, honest).pull, HEALED_SECONDS) == ""
    foreign = [(place, len(place.seen)) for place in (shared.evil, shared.cdn)]
    yield shared
    for place, before in foreign:
        for seen in place.seen[before:]:
            told = f"{seen.line}\n{seen.head}\n{seen.body!r}"
            assert secrets_in(told) == [], told


@pytest.mark.parametrize("realm", REALMS)
def test_R_19_evil_realms(armed: Trap, realm: str) -> None:
    evil = realm.format(evil=armed.at_evil(), port=armed.evil.port.number)
    armed.guard.rule(Rule(acts.asking_for_token(evil)))
    before = len(armed.guard.seen)
    assert armed.ask(armed.place()).status in (403, 404, 503)
    assert len(armed.guard.seen) > before
    record("R-19", f"evil realm {realm}", "0 secrets at the evil place", "0")


def test_R_19_a_realm_of_the_same_domain_without_tls(armed: Trap) -> None:
    """The upstream has TLS; a password in clear text to a realm would be anybody's."""
    clear = f"http://{REALM_HOST}:{armed.evil.port.number}/token"
    armed.tls.rule(Rule(acts.asking_for_token(clear)))
    before = len(armed.tls.seen)
    assert armed.ask(armed.place("tls.site")).status in (403, 404, 503)
    assert len(armed.tls.seen) > before
    record("R-19", "realm without TLS of an upstream with TLS", "0 secrets there", "0")


@pytest.mark.parametrize("evil", [acts.answering(401, WWW_Authenticate="Basic"), None])
def test_R_19_a_redirect_to_a_foreign_host(armed: Trap, evil: acts.Act | None) -> None:
    """It asks for the password, or sends to the upstream's own realm to get at the token."""
    honest = f"http://{REALM_HOST}:{armed.realm.port.number}/token"
    armed.guard.rule(Rule(guarding(honest, acts.redirecting(armed.evil))))
    if evil:
        armed.evil.rule(Rule(evil))
    before = len(armed.evil.seen)
    assert armed.ask(armed.place()).status in (403, 404, 503)
    assert len(armed.evil.seen) > before
    record("R-19", "redirect to a foreign host", "0 secrets there", "0")


def test_R_19_a_cdn_that_sends_further(armed: Trap) -> None:
    honest = f"http://{REALM_HOST}:{armed.realm.port.number}/token"
    armed.guard.rule(Rule(guarding(honest, acts.redirecting(armed.cdn))))
    armed.cdn.rule(Rule(acts.redirecting(armed.evil)))
    before = len(armed.evil.seen)
    assert armed.ask(armed.place()).status in (403, 404, 503)
    assert len(armed.evil.seen) > before
    record("R-19", "CDN that redirects to a foreign host", "0 secrets there", "0")


def test_R_19_a_realm_that_sends_further(armed: Trap) -> None:
    armed.realm.rule(Rule(acts.redirecting(armed.evil)))
    before = len(armed.realm.seen)
    assert armed.ask(armed.place()).status in (403, 404, 503)
    assert len(armed.realm.seen) > before
    record("R-19", "realm that redirects to a foreign host", "0 secrets there", "0")


@pytest.mark.parametrize("name", NAMES)
def test_R_19_names_that_nobody_configured(armed: Trap, name: str) -> None:
    before = armed.evil.opened
    given = name.format(evil=armed.at_evil(), port=armed.evil.port.number)
    path = f"/v2/team/app/manifests/v1?ns={quote(given, safe='')}"
    assert armed.ours.request("GET", path).status_code in (400, 404)
    directory = given.replace(":", "_").replace("/", "_")
    path = f"/v2/{quote(directory, safe='')}/team/app/manifests/v1"
    assert armed.ours.request("GET", path).status_code in (400, 404)
    assert armed.evil.opened == before
    record("R-19", f"?ns={name!r}", "0 connections", "0")


def test_R_19_repositories_that_are_not_allowed(armed: Trap) -> None:
    """Our account could read them; whoever asks us may not."""
    place = armed.place(prefix="secret")
    assert armed.ask(place).status == 404
    assert armed.guard.requests(place.repository) == []
    record("R-19", "repository that is not allowed", "404, upstream not asked", "404, 0 requests")


def test_R_19_nothing_is_written_down(armed: Trap) -> None:
    """After all of the above: neither in the log, nor in state or storage, nor in any answer."""
    assert any(TOKEN in str(seen.head) for seen in armed.guard.seen)
    assert any(secrets_in(str(seen.head)) for seen in armed.realm.seen)
    assert secrets_in(armed.ours.log) == []
    kept = [path for path in armed.ours.directory.rglob("*") if path.is_file()]
    assert [p for p in kept if secrets_in(p.read_bytes().decode("latin-1"))] == []
    for answer in armed.answers:
        assert secrets_in(f"{answer.headers} {answer.body!r}") == []
    for path in ("/", "/metrics", "/readyz"):
        assert secrets_in(armed.ours.request("GET", path).text) == []
    record("R-19", "log, state, storage, answers", "0 secrets", f"0 in {len(kept)} files")


@pytest.mark.parametrize("command", ["config", "upstreams"])
def test_R_19_commands_do_not_tell(armed: Trap, command: str) -> None:
    config, state = armed.ours.arguments[-1], str(armed.ours.directory / "state")
    given = [sys.executable, "-m", "distserver", command, "--config", config, "--state", state]
    done = subprocess.run(given, capture_output=True, text=True, timeout=30)
    assert done.returncode == 0, done.stderr
    assert secrets_in(done.stdout + done.stderr) == []
