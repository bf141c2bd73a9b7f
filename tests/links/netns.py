"""Two network namespaces joined by one link that can be slow or down; needs root.

    near  where our server and its clients are     10.231.0.2
    far   where the upstream is                    10.231.0.1

A thread enters a namespace for the sockets that it makes and the processes that it starts there.
"""

from __future__ import annotations

import ctypes
import json
import os
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.components.require import require

FAR_ADDRESS, NEAR_ADDRESS = "10.231.0.1", "10.231.0.2"
MTU = 1500
"""With large segments, as loopback and fresh veth have them, a token bucket lets nothing pass."""
_ESTABLISHED = "01"
_CLONE_NEWNET = 0x40000000
_OFFLOADS = ("tso", "gso", "gro")
_libc = ctypes.CDLL(None, use_errno=True)


@dataclass(frozen=True)
class Link:
    """A link; near and far are the names of its namespaces, and of its two ends in them."""

    near: str
    far: str

    def limit(self, rate: str) -> None:
        """Let no more come from far than a rate in tc's words, such as 20mbit."""
        shape = ("tbf", "rate", rate, "burst", "32kb", "latency", "200ms")
        _run("tc", "-n", self.far, "qdisc", "replace", "dev", self.far, "root", *shape)

    def down(self) -> None:
        """Pull the cable at the far end."""
        _run("ip", "-n", self.far, "link", "set", self.far, "down")

    def up(self) -> None:
        """Put it back."""
        _run("ip", "-n", self.far, "link", "set", self.far, "up")

    def swallow(self) -> None:
        """Let the far end drop all that comes, without a word."""
        with inside(self.far):
            _run("iptables", "--append", "INPUT", "--jump", "DROP")

    def leave(self) -> None:
        """Let nobody be at the far address any more, as if the machine there were off."""
        _run("ip", "-n", self.far, "address", "flush", "dev", self.far)
        _run("ip", "-n", self.near, "neighbour", "flush", "dev", self.near)

    def sent(self) -> int:
        """Packets of any kind that have left the near end."""
        shown = _run("ip", "-n", self.near, "-s", "-j", "link", "show", "dev", self.near)
        return int(json.loads(shown)[0]["stats64"]["tx"]["packets"])

    def datagrams(self) -> int:
        """UDP datagrams that processes at the near end have sent, to loopback too."""
        with inside(self.near):
            text = Path("/proc/thread-self/net/snmp").read_text()
        names, values = (line.split() for line in text.splitlines() if line.startswith("Udp:"))
        return int(values[names.index("OutDatagrams")])

    def connections(self) -> int:
        """TCP connections from near to far that are established now."""
        far = socket.inet_aton(FAR_ADDRESS)[::-1].hex().upper()
        with inside(self.near):
            lines = Path("/proc/thread-self/net/tcp").read_text().splitlines()[1:]
        rows = (line.split() for line in lines)
        return sum(row[2].startswith(far) and row[3] == _ESTABLISHED for row in rows)

    def listener(self) -> socket.socket:
        """A bound socket at the far end, on a free port."""
        with inside(self.far):
            return socket.create_server((FAR_ADDRESS, 0))


@contextmanager
def a_link() -> Iterator[Link]:
    """Make two namespaces and the link between them; both are gone at the end."""
    link = Link(f"near{os.getpid()}", f"far{os.getpid()}")
    for name in (link.near, link.far):
        _run("ip", "netns", "add", name)
    try:
        _run("ip", "-n", link.near, "link", "add", link.near, "type", "veth", "peer", link.far)
        _run("ip", "-n", link.near, "link", "set", link.far, "netns", link.far)
        _end(link.near, NEAR_ADDRESS)
        _end(link.far, FAR_ADDRESS)
        # Whatever is dialled leaves by the link, and is counted.
        _run("ip", "-n", link.near, "route", "add", "default", "via", FAR_ADDRESS)
        yield link
    finally:
        for name in (link.near, link.far):
            _run("ip", "netns", "del", name)


@contextmanager
def an_island() -> Iterator[str]:
    """Make a namespace that has loopback and nothing else; yields its name."""
    name = f"island{os.getpid()}"
    _run("ip", "netns", "add", name)
    try:
        _run("ip", "-n", name, "link", "set", "lo", "up")
        yield name
    finally:
        _run("ip", "netns", "del", name)


def sent_beyond_loopback(name: str) -> int:
    """Packets of any kind that have left a namespace."""
    shown = json.loads(_run("ip", "-n", name, "-s", "-j", "link", "show"))
    return sum(one["stats64"]["tx"]["packets"] for one in shown if one["ifname"] != "lo")


@contextmanager
def inside(name: str) -> Iterator[None]:
    """Be in a namespace with this thread, and with the threads and processes that it starts."""
    with (
        Path("/proc/thread-self/ns/net").open() as home,
        (Path("/run/netns") / name).open() as there,
    ):
        _enter(there.fileno())
        try:
            yield
        finally:
            _enter(home.fileno())


def _end(name: str, address: str) -> None:
    """Set up one end: no IPv6, so that the kernel says nothing by itself; no large segments."""
    with inside(name):
        Path("/proc/sys/net/ipv6/conf/all/disable_ipv6").write_text("1")
    _run("ip", "-n", name, "address", "add", f"{address}/24", "dev", name)
    _run("ip", "-n", name, "link", "set", name, "mtu", str(MTU), "up")
    _run("ip", "-n", name, "link", "set", "lo", "up")
    off = [word for feature in _OFFLOADS for word in (feature, "off")]
    _run("ip", "netns", "exec", name, require("ethtool"), "-K", name, *off)


def _enter(descriptor: int) -> None:
    if _libc.setns(descriptor, _CLONE_NEWNET):
        raise OSError(ctypes.get_errno(), "setns")


def _run(command: str, *arguments: str) -> str:
    done = subprocess.run(
        [require(command), *arguments], capture_output=True, text=True, timeout=30
    )
    assert done.returncode == 0, (command, arguments, done.stderr)
    return done.stdout
