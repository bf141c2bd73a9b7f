"""What an upstream can answer that is no answer: each is an act for a rule of the fault proxy."""

from __future__ import annotations

import gzip
import itertools
import json

from tests.upstreams.exchange import Exchange
from tests.upstreams.proxy import Act, FaultProxy

PAGE = b"<html><body>Welcome aboard. Log in to use the ship's network.</body></html>"
WRONG_DIGEST = "sha256:" + "0" * 64
ENORMOUS = 1 << 50


def answering(status: int, **headers: str) -> Act:
    """A status, and a body as registries send it."""
    spelled = {name.replace("_", "-"): value for name, value in headers.items()}
    body = json.dumps({"errors": [{"code": "UNKNOWN", "message": "a test says so"}]}).encode()
    given = {"Content-Type": "application/json", **spelled}
    return lambda exchange: exchange.reply(status, given, body)


def asking_for_token(realm: str) -> Act:
    """A challenge that sends to a token server."""
    challenge = f'Bearer realm="{realm}",service="registry",scope="repository:x:pull"'
    return answering(401, WWW_Authenticate=challenge)


def hanging(exchange: Exchange) -> None:
    """No answer at all."""
    exchange.hang()


def portal(exchange: Exchange) -> None:
    """A page for people, whatever was asked for."""
    exchange.reply(200, {"Content-Type": "text/html"}, PAGE)


def endless(exchange: Exchange) -> None:
    """A body that has no length and no end."""
    head = exchange.forward().without("Content-Length").having("Transfer-Encoding", "chunked")
    exchange.send_head(head)
    while exchange.seen.method != "HEAD":
        exchange.send(b"10000\r\n" + bytes(1 << 16) + b"\r\n")


def enormous(exchange: Exchange) -> None:
    """A body with a length that no disk could keep, and that does go on."""
    exchange.send_head(exchange.forward().having("Content-Length", str(ENORMOUS)))
    while exchange.seen.method != "HEAD":
        exchange.send(bytes(1 << 16))


def empty(exchange: Exchange) -> None:
    """Headers as they are, but for a length of 0, and no body."""
    exchange.send_head(exchange.forward().having("Content-Length", "0"))


def announcing(more: int) -> Act:
    """A length that is so much more than the body's; for less than 0 the body is cut to it."""

    def act(exchange: Exchange) -> None:
        head = exchange.forward()
        announced = max(0, int(head.get("Content-Length", "0")) + more)
        exchange.send_head(head.having("Content-Length", str(announced)))
        exchange.send_some(announced)
        if more > 0 and exchange.seen.method != "HEAD":
            exchange.cut()

    return act


def typed(media_type: str) -> Act:
    """Another Content-Type."""
    return lambda exchange: _changed(exchange, "Content-Type", media_type)


def wrong_digest(exchange: Exchange) -> None:
    """A Docker-Content-Digest that is well-formed, and another's."""
    _changed(exchange, "Docker-Content-Digest", WRONG_DIGEST)


def gzipped(exchange: Exchange) -> None:
    """The body compressed, as Content-Encoding says, whatever was accepted."""
    head = exchange.forward("Range")
    body = gzip.compress(b"".join(iter(exchange.read, b"")), 1)
    coded = head.having("Content-Encoding", "gzip").having("Content-Length", str(len(body)))
    exchange.send_head(coded)
    exchange.send(body)


def flipping(at: int, pause: float = 0) -> Act:
    """One byte of the whole body changed: the one at an offset, from the end if it is negative.

    pause  seconds between one piece and the next, so that readers follow what comes
    """

    def act(exchange: Exchange) -> None:
        head = exchange.forward()
        exchange.send_head(head)
        offset = head.first_byte
        wanted = at if at >= 0 else offset + int(head.get("Content-Length", "0")) + at
        while data := exchange.read():
            exchange.send(_flipped(data, wanted - offset))
            offset += len(data)
            if pause:
                exchange.pause(pause)

    return act


def redirecting(to: FaultProxy) -> Act:
    """The same path at another place."""
    return lambda exchange: exchange.reply(307, {"Location": to.url + exchange.seen.path})


def looping(exchange: Exchange) -> None:
    """A redirect to where we are."""
    exchange.reply(302, {"Location": exchange.seen.path})


def signing(cdn: FaultProxy) -> Act:
    """A redirect to a URL that is good once: see cuts.expiring."""
    turn = itertools.count()

    def act(exchange: Exchange) -> None:
        path, _, _ = exchange.seen.path.partition("?")
        exchange.reply(307, {"Location": f"{cdn.url}{path}?X-Signature={next(turn)}"})

    return act


def _changed(exchange: Exchange, name: str, value: str) -> None:
    exchange.send_head(exchange.forward().having(name, value))
    exchange.send_rest()


def _flipped(data: bytes, at: int) -> bytes:
    if not 0 <= at < len(data):
        return data
    return data[:at] + bytes((data[at] ^ 0xFF,)) + data[at + 1 :]
