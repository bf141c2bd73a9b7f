"""One upstream of the fault table: a real registry behind a proxy that turns bad and good again."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from tests.upstreams.certificates import Certificate
from tests.upstreams.images import Image, digest_of
from tests.upstreams.names import NO_ERROR, NameServer
from tests.upstreams.port import Port
from tests.upstreams.proxy import Act, FaultProxy, Rule


@dataclass(frozen=True)
class Helpers:
    """What faults of all sites use: other places that pass requests on, and evil ones.

    elsewhere   the registry at another port
    other_host  the registry at another host
    encrypted   the registry behind TLS that nobody vouches for
    cdn         gives a MiB for each signed URL, once
    evil        must never be asked for anything
    mute        never answers
    good, bad   certificates that our server trusts and does not
    """

    elsewhere: FaultProxy
    other_host: FaultProxy
    encrypted: FaultProxy
    cdn: FaultProxy
    evil: FaultProxy
    mute: FaultProxy
    good: Certificate
    bad: Certificate

    @property
    def carriers(self) -> tuple[FaultProxy, ...]:
        """All through which content may come."""
        return self.elsewhere, self.other_host, self.encrypted, self.cdn


@dataclass(frozen=True)
class Place:
    """Where an image is: what a client of our server needs to know.

    name        host that image names carry
    repository  name of the image at the upstream
    """

    name: str
    repository: str
    image: Image

    @property
    def reference(self) -> str:
        """The image as a pod names it."""
        return f"{self.name}/{self.repository}:v1"

    @property
    def layer(self) -> str:
        """Digest of its layer."""
        return digest_of(self.image.layer)


@dataclass(frozen=True)
class Site(Place):
    """An upstream of its own, with one image in one repository.

    scheme  of its URL: http or https
    """

    scheme: str
    proxy: FaultProxy
    names: NameServer
    helpers: Helpers = field(repr=False)

    @property
    def host(self) -> str:
        """Name that our server resolves; the name server answers for it."""
        return f"{self.name}.test"

    @property
    def url(self) -> str:
        """Base URL that our server is given."""
        host = self.host if self.scheme == "http" else self.proxy.port.host
        return f"{self.scheme}://{host}:{self.proxy.port.number}"

    @property
    def table(self) -> str:
        """The site's table in our server's configuration."""
        trust = "insecure = true"
        if self.scheme == "https":
            trust = f'ca_file = "{self.helpers.good.file}"'
        return f'[upstream."{self.name}"]\nurl = ["{self.url}"]\n{trust}\n'

    def spoil(self, act: Act, on: str = ".") -> None:
        """Do this to requests from now on, and cut what is on its way."""
        self.proxy.rule(Rule(act, on))
        self.proxy.cut_off()

    def shut(self, how: Callable[[Port], None]) -> None:
        """Let new connections fail in a port's way, and cut the old ones."""
        how(self.proxy.port)
        self.proxy.cut_off()

    def fail_name(self, code: int) -> None:
        """Let the name server answer this for the site's host, and cut what is on its way."""
        self.names.codes[self.host] = code
        self.proxy.cut_off()

    def show(self, certificate: Certificate) -> None:
        """Show a certificate on new connections, and cut the old ones."""
        self.proxy.tls = certificate.context()
        self.proxy.cut_off()

    def heal(self) -> None:
        """Be a good upstream from now on."""
        self.names.codes[self.host] = NO_ERROR
        if self.scheme == "https":
            self.proxy.tls = self.helpers.good.context()
        self.proxy.rule()
        self.proxy.cut_off()
        self.proxy.port.listen()

    def layer_bytes(self) -> int:
        """Bytes of the layer's body that went to our server so far, from anywhere."""
        return sum(sent for _, sent in self.layer_pieces())

    def layer_reached(self) -> int:
        """The offset behind the last byte of the layer that went to our server."""
        return max((start + sent for start, sent in self.layer_pieces() if sent), default=0)

    def layer_pieces(self) -> list[tuple[int, int]]:
        """Of each request for the layer: the offset that it asked from, and the bytes it got."""
        carriers = (self.proxy, *self.helpers.carriers)
        seen = [one for proxy in carriers for one in proxy.requests(f"GET .*{self.layer}")]
        return [(one.offset, one.sent) for one in seen]
