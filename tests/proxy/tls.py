"""Certificates and TLS upstreams for tests, made by openssl."""

from __future__ import annotations

import ssl
import subprocess
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Pair:
    """A certificate and its key, PEM files."""

    cert: Path
    key: Path


def authority(directory: Path, name: str) -> Pair:
    """A certificate authority of one's own."""
    return _self_signed(directory, name, "-addext", "basicConstraints=critical,CA:TRUE")


def issued(directory: Path, ca: Pair, name: str, *subjects: str) -> Pair:
    """A certificate that an authority signed, for subjects such as IP:127.0.0.1."""
    pair = Pair(directory / f"{name}.pem", directory / f"{name}.key")
    request, extension = directory / f"{name}.csr", directory / f"{name}.ext"
    extension.write_text(f"subjectAltName={','.join(subjects) or f'DNS:{name}'}\n")
    _openssl(
        *("req", "-newkey", "rsa:2048", "-nodes", "-subj", f"/CN={name}"),
        *("-keyout", pair.key, "-out", request),
    )
    _openssl(
        *("x509", "-req", "-in", request, "-CA", ca.cert, "-CAkey", ca.key, "-CAcreateserial"),
        *("-days", "2", "-extfile", extension, "-out", pair.cert),
    )
    return pair


def server_context(pair: Pair, clients: Pair | None = None) -> ssl.SSLContext:
    """How a server speaks TLS; with clients, it asks for a certificate of that authority."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pair.cert, pair.key)
    if clients:
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(clients.cert)
    return context


def _self_signed(directory: Path, name: str, *options: str) -> Pair:
    pair = Pair(directory / f"{name}.pem", directory / f"{name}.key")
    _openssl(
        *("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", f"/CN={name}"),
        *("-keyout", pair.key, "-out", pair.cert, *options),
    )
    return pair


def _openssl(*arguments: object) -> None:
    command = ["openssl", *map(str, arguments)]
    subprocess.run(command, check=True, capture_output=True, timeout=60)
