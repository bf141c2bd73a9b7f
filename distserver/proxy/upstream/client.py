"""Requests to an upstream: limits of silence, redirects by hand, bodies as they are on the wire.

One requests session a process, shared by its threads. Credentials only leave where realms allows.
"""

from __future__ import annotations

import functools
import logging
import ssl
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from http.cookiejar import DefaultCookiePolicy
from urllib.parse import urljoin

import requests
import urllib3
from requests.utils import get_environ_proxies

from distserver.proxy.upstream.attempt import Adapter
from distserver.proxy.upstream.errors import (
    UpstreamAbsent,
    UpstreamError,
    UpstreamPage,
    UpstreamRefused,
    UpstreamUnavailable,
)
from distserver.proxy.upstream.realms import origin

CONNECT_SECONDS = 3.0
SILENCE_SECONDS = 15.0
MAX_REDIRECTS = 5
MAX_ERROR_BYTES = 1 << 20
MAX_RETRY_AFTER = 60.0
USER_AGENT = "distserver"


@dataclass(frozen=True, slots=True)
class Transport:
    """How to reach an upstream.

    ca_file      PEM file of the authorities to trust; "" = those of the system
    client_cert  PEM files of certificate and key for mutual TLS, or None
    hosts        that are shown the client certificate
    insecure     plain HTTP and unverified TLS are allowed
    """

    ca_file: str = ""
    client_cert: tuple[str, str] | None = None
    hosts: frozenset[str] = frozenset()
    insecure: bool = False


@dataclass
class Answer:
    """An answer whose body has not been read. Close it; `with` does.

    url       where it came from, after redirects
    received  told of each piece of the body, in bytes
    """

    url: str
    response: requests.Response = field(repr=False)
    received: Callable[[int], None] = field(repr=False)

    @property
    def status(self) -> int:
        """HTTP status."""
        return self.response.status_code

    @property
    def headers(self) -> Mapping[str, str]:
        """Headers; names in any case."""
        return self.response.headers

    def read(self, n: int) -> bytes:
        """Return what is there of the body, up to n bytes, not decoded; b"" at the end.

        Raises: UpstreamUnavailable when the connection breaks, stalls, or ends short.
        """
        try:
            data: bytes = self.response.raw.read1(n, decode_content=False) or b""
        except (urllib3.exceptions.HTTPError, OSError) as exc:
            raise UpstreamUnavailable(f"the answer broke off: {type(exc).__name__}") from exc
        self.received(len(data))
        return data

    def read_limited(self, limit: int) -> bytes:
        """Return the whole body. Raises: UpstreamUnavailable, also for more than limit bytes."""
        body = b""
        while data := self.read(min(1 << 20, limit + 1 - len(body))):
            body += data
            if len(body) > limit:
                raise UpstreamUnavailable(f"the answer is larger than {limit} bytes")
        return body

    def close(self) -> None:
        """Give the connection back, or close it if there is more to read."""
        self.response.close()

    def __enter__(self) -> Answer:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


def new_session() -> requests.Session:
    """Return a session that adds nothing by itself: no netrc, no cookies, no retries."""
    # Where TLS is not verified the configuration says so; a warning a request helps nobody.
    urllib3.disable_warnings(urllib3.exceptions.InsecureRequestWarning)
    # It logs URLs, which may carry a signature; what fails is told by our own words.
    logging.getLogger("urllib3").setLevel(logging.CRITICAL)
    session = requests.Session()
    session.trust_env = False
    session.headers.clear()
    session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
    adapter = Adapter(pool_connections=32, pool_maxsize=32, max_retries=0)
    session.mount("https://", adapter)
    session.mount("http://", adapter)
    # Else requests reads the body of each redirect to its end, unpacked, to offer the next request.
    session.get_redirect_target = lambda _: None  # type: ignore[assignment]
    return session


class Transfer:
    """Sends requests by one session under one transport's rules.

    received  told of each piece of a body, in bytes
    """

    def __init__(
        self,
        session: requests.Session,
        transport: Transport,
        received: Callable[[int], None] = lambda _: None,
    ) -> None:
        self._session, self._transport, self._received = session, transport, received

    def send(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str],
        data: Mapping[str, str] | None = None,
        seconds: float = SILENCE_SECONDS,
    ) -> Answer:
        """Send a request and follow its redirects; return the answer with its body unread.

            headers  Authorization is dropped where a redirect leaves the origin
            data     a form, which may hold a secret: no redirect takes it to another origin
            seconds  longest silence, while connecting at most CONNECT_SECONDS
        Raises: UpstreamUnavailable. Blocks on: the network.
        """
        sent: Mapping[str, str] = {
            "User-Agent": USER_AGENT,
            "Accept-Encoding": "identity",
            **headers,
        }
        for _ in range(MAX_REDIRECTS + 1):
            answer = self._once(method, url, sent, data, seconds)
            target = answer.headers.get("Location")
            if answer.status not in (301, 302, 303, 307, 308) or not target:
                return answer
            answer.close()
            new, sent = self._follow(url, target, sent)
            if data is not None and origin(new) != origin(url):
                raise UpstreamUnavailable("it sends what we post to another host")
            url = new
        raise UpstreamUnavailable(f"more than {MAX_REDIRECTS} redirects")

    def _once(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str],
        data: Mapping[str, str] | None,
        seconds: float,
    ) -> Answer:
        host, transport = self._required_host(url), self._transport
        try:
            response = self._session.request(
                method,
                url,
                headers=dict(headers),
                data=data,
                stream=True,
                allow_redirects=False,
                timeout=(min(CONNECT_SECONDS, seconds), seconds),
                verify=not transport.insecure and (transport.ca_file or _system_authorities()),
                cert=transport.client_cert if host in transport.hosts else None,
                proxies=get_environ_proxies(url),
            )
        except (requests.RequestException, urllib3.exceptions.HTTPError, OSError) as exc:
            raise UpstreamUnavailable(_words(exc)) from exc
        return Answer(url, response, self._received)

    def _follow(
        self, url: str, target: str, headers: Mapping[str, str]
    ) -> tuple[str, Mapping[str, str]]:
        try:
            new = urljoin(url, target)
        except ValueError as exc:
            raise UpstreamUnavailable("redirected to what is no URL") from exc
        self._required_host(new)
        if origin(new) == origin(url):
            return new, headers
        return new, {k: v for k, v in headers.items() if k.lower() != "authorization"}

    def _required_host(self, url: str) -> str:
        """Return the host of a URL that may be asked. Raises: UpstreamUnavailable."""
        try:
            scheme, host, _ = origin(url)
        except ValueError as exc:
            raise UpstreamUnavailable("redirected to what is no http or https URL") from exc
        if scheme != "https" and not self._transport.insecure:
            raise UpstreamUnavailable("plain http, and `insecure` is not set")
        return host


def error_of(answer: Answer) -> UpstreamError | None:
    """What an answer's status means; None for success. Reads nothing."""
    status = answer.status
    if status in (200, 206):
        return None
    if status == 404:
        kind = UpstreamPage if is_page(answer) else UpstreamAbsent
        return kind("the upstream does not have it (404)")
    if status in (401, 403):
        return UpstreamRefused(f"the upstream refuses us ({status})")
    return UpstreamUnavailable(f"the upstream answers {status}", _retry_after(answer.headers))


def is_page(answer: Answer) -> bool:
    """Whether a web page came: a captive portal or a firewall speaks, no registry."""
    return answer.headers.get("Content-Type", "").lower().startswith("text/html")


def _retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds to wait, 0 to MAX_RETRY_AFTER; None where the header says nothing.

    Spec: RFC 9110 §10.2.3.
    """
    text = headers.get("Retry-After", "")
    if text.isascii() and text.isdigit():
        return float(min(int(text[:9]), MAX_RETRY_AFTER))
    try:
        seconds = parsedate_to_datetime(text).timestamp() - time.time()
    except (ValueError, OverflowError):
        return None
    return min(max(seconds, 0.0), MAX_RETRY_AFTER)


@functools.cache
def _system_authorities() -> str | bool:
    """The bundle of the system, where private authorities are installed; True = requests' own."""
    return ssl.get_default_verify_paths().cafile or True


_WORDS: tuple[tuple[type[BaseException] | tuple[type[BaseException], ...], str], ...] = (
    (urllib3.exceptions.NameResolutionError, "its name cannot be resolved"),
    ((ssl.SSLError, urllib3.exceptions.SSLError), "TLS fails: its certificate is not accepted"),
    (ConnectionRefusedError, "it refuses connections"),
    ((urllib3.exceptions.ReadTimeoutError, TimeoutError), "it does not answer"),
    (urllib3.exceptions.ProtocolError, "the connection broke off"),
)


def _words(error: BaseException) -> str:
    """A failure in words, without the URL, which may carry a signature."""
    chain: BaseException | None = error
    while chain is not None:
        is_new = isinstance(chain, urllib3.exceptions.NewConnectionError)  # it names its cause
        if isinstance(chain, urllib3.exceptions.ConnectTimeoutError) and not is_new:
            return f"no connection within {CONNECT_SECONDS:.0f} s"
        if found := next((words for kinds, words in _WORDS if isinstance(chain, kinds)), None):
            return found
        inner = next((arg for arg in chain.args if isinstance(arg, BaseException)), None)
        reason = getattr(chain, "reason", None)
        chain = reason if isinstance(reason, BaseException) else inner or chain.__cause__
    return f"the connection fails: {type(error).__name__}"
