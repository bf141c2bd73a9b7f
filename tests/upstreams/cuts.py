"""How a body can fail to arrive: each is an act for a rule of the fault proxy.

`at` is an offset in the whole body, also where a client resumes; `count` counts in one answer.
"""

from __future__ import annotations

import itertools

from tests.upstreams.exchange import Exchange
from tests.upstreams.proxy import Act

MIB = 1 << 20


def stalling_after_head(exchange: Exchange) -> None:
    """All headers, and nothing of the body."""
    exchange.send_head(exchange.forward())
    if exchange.seen.method != "HEAD":
        exchange.hang()


def stalling(at: int) -> Act:
    """The body up to an offset, then nothing more."""

    def act(exchange: Exchange) -> None:
        if _until(exchange, at):
            exchange.hang()

    return act


def cutting(at: int) -> Act:
    """The body up to an offset, then FIN."""

    def act(exchange: Exchange) -> None:
        if _until(exchange, at):
            exchange.cut()

    return act


def cutting_each(count: int) -> Act:
    """So many bytes of each answer, then FIN."""

    def act(exchange: Exchange) -> None:
        exchange.send_head(exchange.forward())
        if exchange.send_some(count):
            exchange.cut()

    return act


def resetting_each(count: int) -> Act:
    """So many bytes of each answer, then RST."""

    def act(exchange: Exchange) -> None:
        exchange.send_head(exchange.forward())
        if exchange.send_some(count):
            exchange.reset()

    return act


def without_ranges(count: int) -> Act:
    """From byte 0 on, whatever was asked; only the first answer ends early."""
    turn = itertools.count()

    def act(exchange: Exchange) -> None:
        exchange.send_head(exchange.forward("Range").without("Accept-Ranges"))
        if next(turn):
            exchange.send_rest()
        elif exchange.send_some(count):
            exchange.cut()

    return act


def expiring(count: int) -> Act:
    """A CDN's: each URL gives so many bytes once, then 403."""
    used: set[str] = set()

    def act(exchange: Exchange) -> None:
        if exchange.seen.path in used:
            exchange.reply(403)
            return
        used.add(exchange.seen.path)
        exchange.send_head(exchange.forward())
        if exchange.send_some(count):
            exchange.cut()

    return act


def cutting_head(exchange: Exchange) -> None:
    """Half of the answer's head, then FIN: the last header that came may look whole."""
    head = bytes(exchange.forward())
    exchange.send_raw(head[: len(head) // 2])
    exchange.cut()


def dripping_head(exchange: Exchange) -> None:
    """The answer's head, a byte a second."""
    exchange.send_slowly(bytes(exchange.forward()))


def dripping(at: int) -> Act:
    """The body up to an offset, then a byte a second."""

    def act(exchange: Exchange) -> None:
        if not _until(exchange, at):
            return
        while data := exchange.read(1):
            exchange.send(data)
            exchange.pause(1)

    return act


def slowly(rate: int) -> Act:
    """The body, so many bytes a second."""

    def act(exchange: Exchange) -> None:
        exchange.send_head(exchange.forward())
        while exchange.send_some(rate // 10):
            exchange.pause(0.1)

    return act


def _until(exchange: Exchange, at: int) -> bool:
    """Send what comes before an offset; return whether there is more."""
    head = exchange.forward()
    exchange.send_head(head)
    return exchange.send_some(at - head.first_byte)
