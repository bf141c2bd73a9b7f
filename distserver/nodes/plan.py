"""What an operator wishes for a node, and what has to be written for it. Pure but for reading."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from distserver.nodes.endpoints import Endpoint
from distserver.nodes.node import Node


@dataclass(frozen=True, slots=True)
class Wish:
    """How a node shall pull.

    endpoints   servers of ours, asked in this order
    only        nothing but them is asked: no registry of the world
    ca          PEM of the authority of their certificates; empty = the system's
    registries  host[:port] that get an entry of their own
    """

    endpoints: tuple[Endpoint, ...]
    only: bool = False
    ca: bytes = b""
    registries: tuple[str, ...] = ()

    @property
    def secured(self) -> tuple[Endpoint, ...]:
        """The endpoints that are spoken to by TLS with the given authority."""
        return tuple(one for one in self.endpoints if self.ca and not one.plain)


@dataclass(frozen=True, slots=True)
class File:
    """A file that shall be there.

    path      as the node has it
    precious  why one that is not ours is not replaced unless forced; "" = it may be
    """

    path: str
    data: bytes
    precious: str = ""


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to be written, and what people have to know or do.

    notes    each a sentence or more, and lines to add by hand
    restart  whether the runtime has to read its files again
    """

    files: tuple[File, ...]
    notes: tuple[str, ...] = ()
    restart: bool = True


class Runtime(Protocol):
    """A container runtime: what it reads, and where."""

    @property
    def name(self) -> str:
        """As operators call it."""

    @property
    def family(self) -> str:
        """Equal for runtimes that read the same files."""

    @property
    def restart(self) -> str:
        """The command that makes it read its files again; "" = it does so at each pull."""

    def plan(self, wish: Wish, node: Node) -> Plan:
        """Say what has to be written. Raises: NodeError, OSError. Writes nothing."""

    def files(self, node: Node) -> Sequence[str]:
        """Return the files that say where it pulls from, those that are there."""

    def endpoints(self, node: Node) -> Sequence[Endpoint]:
        """Return where it pulls from before the registry itself, as its files say now."""

    def installed(self, node: Node) -> bool:
        """Whether the node has it, as far as its files tell."""


HEAD = "# Written by `distserver node-config write`; `distserver node-config undo` takes it back.\n"
