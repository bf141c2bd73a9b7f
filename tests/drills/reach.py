"""A way from here to a port of a machine that has no network: connections made within it."""

from __future__ import annotations

import ctypes
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

_CLONE_NEWNET = 0x40000000
_PIECE = 256 << 10
_libc = ctypes.CDLL(None, use_errno=True)


@contextmanager
def reached(pid: Callable[[], int], port: int) -> Iterator[int]:
    """Lend a port of ours; each connection to it goes on to a port of the machine's loopback.

    pid  tells a process of the machine, at each connection; one that runs no more refuses it
    """
    with socket.create_server(("127.0.0.1", 0), backlog=100) as listener:
        thread = threading.Thread(target=_accept, args=(listener, pid, port), daemon=True)
        thread.start()
        try:
            yield listener.getsockname()[1]
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join()


def _accept(listener: socket.socket, pid: Callable[[], int], port: int) -> None:
    while True:
        try:
            client, _ = listener.accept()
        except OSError:
            return  # the end of the test
        threading.Thread(target=_serve, args=(client, pid, port), daemon=True).start()


def _serve(client: socket.socket, pid: Callable[[], int], port: int) -> None:
    """Carry one connection, in a thread that has entered the machine's network."""
    with client:
        try:
            _enter(pid())
            server = socket.create_connection(("127.0.0.1", port), 30)
        except OSError:
            return
        with server:
            server.settimeout(None)
            back = threading.Thread(target=_carry, args=(server, client), daemon=True)
            back.start()
            _carry(client, server)
            back.join()


def _carry(source: socket.socket, target: socket.socket) -> None:
    """Carry bytes one way until the source ends; then let the target know.

    What a target does not take any more is thrown away: a server that refuses a body has answered,
    and its client reads the answer when it has sent all.
    """
    try:
        while data := source.recv(_PIECE):
            with suppress(OSError):
                target.sendall(data)
    except OSError:
        with suppress(OSError):
            source.shutdown(socket.SHUT_RDWR)
    with suppress(OSError):
        target.shutdown(socket.SHUT_WR)


def _enter(pid: int) -> None:
    """Enter the network of a process with this thread. Raises: OSError."""
    with open(f"/proc/{pid}/ns/net") as namespace:
        if _libc.setns(namespace.fileno(), _CLONE_NEWNET):
            raise OSError(ctypes.get_errno(), "setns")
