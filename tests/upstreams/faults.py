"""The fault table: what goes wrong with an upstream, and what must come of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from tests.upstreams import acts, cuts
from tests.upstreams.names import NO_SUCH_NAME, SERVER_FAILURE, SILENT
from tests.upstreams.port import Port
from tests.upstreams.proxy import Act, FaultProxy
from tests.upstreams.site import Site

LAYER_BYTES = 2_300_000
HALF = LAYER_BYTES // 2
MIB = 1 << 20
SLOW_LINK = LAYER_BYTES // 40
"""Bytes a second: the layer takes longer than anybody waits without progress."""
GETS = "^GET "
BLOBS = "^GET .*/blobs/"
MANIFESTS = "/manifests/"
QUICK, SLOW = 5.0, 20.0
"""Seconds until a first miss is an error: what fails by itself, and what is silent."""


@dataclass(frozen=True)
class Fault:
    """One row of the table.

    begin      spoils a site
    works      content comes through nevertheless
    manifests  manifests come through, blobs do not
    heads      HEAD comes through, GET does not
    seconds    until the first request for what is not held is an error
    statuses   that this error may have
    scheme     of the site's URL
    again      bytes are rightly sent again when the fault ends: what came was not the blob, or came
               behind headers that we hang up on
    """

    name: str
    begin: Callable[[Site], None] = field(repr=False)
    works: bool = False
    manifests: bool = False
    heads: bool = False
    seconds: float = SLOW
    statuses: frozenset[int] = frozenset({503})
    scheme: str = "http"
    again: bool = False

    @property
    def validates(self) -> bool:
        """Whether a tag's digest can still be asked for."""
        return self.works or self.manifests or self.heads


def doing(act: Act, on: str = ".") -> Callable[[Site], None]:
    """Spoil a site by one rule."""
    return lambda site: site.spoil(act, on)


def answering(status: int, *statuses: int, **headers: str) -> Fault:
    """A row: everything is answered with a status."""
    allowed = frozenset(statuses or (503,))
    begin = doing(acts.answering(status, **headers))
    return Fault(f"answers-{status}", begin, seconds=QUICK, statuses=allowed)


UNREACHABLE = (
    Fault("no-such-name", lambda site: site.fail_name(NO_SUCH_NAME), seconds=QUICK),
    Fault("name-server-fails", lambda site: site.fail_name(SERVER_FAILURE), seconds=QUICK),
    Fault("name-server-silent", lambda site: site.fail_name(SILENT)),
    Fault("refused", lambda site: site.shut(Port.refuse), seconds=QUICK),
    Fault("syn-dropped", lambda site: site.shut(Port.drop)),
    Fault("never-accepts-tls", lambda site: site.shut(Port.ignore), scheme="https"),
    Fault(
        "wrong-certificate",
        lambda site: site.show(site.helpers.bad),
        seconds=QUICK,
        scheme="https",
    ),
)
SILENT_OR_SLOW = (
    Fault("never-answers", doing(acts.hanging)),
    Fault("silent-token-server", lambda site: _sent_to_realm(site, site.helpers.mute)),
    Fault("stalls-after-headers", doing(cuts.stalling_after_head, GETS), heads=True),
    Fault("cuts-headers", doing(cuts.cutting_head)),
    Fault("drips-headers", doing(cuts.dripping_head)),
    Fault("drips-bodies", doing(cuts.dripping(0), GETS), heads=True),
    Fault("stalls-mid-blob", doing(cuts.stalling(HALF), BLOBS), manifests=True),
    Fault("cuts-mid-blob", doing(cuts.cutting(HALF), BLOBS), manifests=True),
)
STATUSES = (
    answering(401, 403, 404, WWW_Authenticate='Basic realm="registry"'),
    answering(403, 403, 404),
    answering(404, 404),
    answering(429, Retry_After="3"),
    answering(500),
    answering(503),
)
LIES = (
    Fault("captive-portal", doing(acts.portal), seconds=QUICK),
    Fault("wrong-digest-header", doing(acts.wrong_digest, MANIFESTS), seconds=QUICK),
    Fault("corrupt-bytes", doing(acts.flipping(-100), BLOBS), manifests=True, again=True),
    Fault(
        "length-too-long", doing(acts.announcing(1000), GETS), heads=True, seconds=QUICK, again=True
    ),
    Fault(
        "length-too-short",
        doing(acts.announcing(-100), GETS),
        heads=True,
        seconds=QUICK,
        again=True,
    ),
    Fault("endless-body", doing(acts.endless, GETS), heads=True, again=True),
    Fault("gzipped-body", doing(acts.gzipped, GETS), heads=True, seconds=QUICK, again=True),
)
REDIRECTS = (
    Fault("to-another-port", lambda site: _redirected(site, "elsewhere"), works=True),
    Fault("to-another-host", lambda site: _redirected(site, "other_host"), works=True),
    Fault("to-https", lambda site: _redirected(site, "encrypted"), works=True),
    Fault(
        "to-plain-http",
        lambda site: _redirected(site, "elsewhere"),
        seconds=QUICK,
        scheme="https",
    ),
    Fault("redirect-loop", doing(acts.looping), seconds=QUICK),
    Fault(
        "evil-token-realm",
        lambda site: site.spoil(acts.asking_for_token(f"{site.helpers.evil.url}/token")),
        seconds=QUICK,
        statuses=frozenset({403, 404}),
    ),
)
RECOVERABLE = (
    Fault("slow-link", doing(cuts.slowly(SLOW_LINK), BLOBS), works=True),
    Fault("cut-every-mib", doing(cuts.cutting_each(MIB), BLOBS), works=True),
    Fault("reset-every-mib", doing(cuts.resetting_each(MIB), BLOBS), works=True),
    Fault(
        "ignores-range",
        lambda site: site.spoil(cuts.without_ranges(HALF), f"^GET .*{site.layer}"),
        works=True,
        again=True,
    ),
    Fault(
        "expired-cdn-url",
        lambda site: site.spoil(acts.signing(site.helpers.cdn), BLOBS),
        works=True,
    ),
)
FAULTS = (*UNREACHABLE, *SILENT_OR_SLOW, *STATUSES, *LIES, *REDIRECTS, *RECOVERABLE)


def _sent_to_realm(site: Site, server: FaultProxy) -> None:
    """Ask for a token of a server on the site's own host."""
    site.spoil(acts.asking_for_token(f"http://{site.host}:{server.port.number}/token"))


def _redirected(site: Site, helper: str) -> None:
    site.spoil(acts.redirecting(getattr(site.helpers, helper)))
