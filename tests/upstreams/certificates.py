"""Certificates for upstreams, made by openssl."""

from __future__ import annotations

import ssl
import subprocess
from dataclasses import dataclass
from pathlib import Path

from tests.components.require import require


@dataclass(frozen=True)
class Certificate:
    """A certificate that vouches for itself.

    file  PEM of the certificate; who trusts it takes it as an authority
    key   PEM of its key
    """

    file: Path
    key: Path

    def context(self) -> ssl.SSLContext:
        """For a server that shows it."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.file, self.key)
        return context


def certificate(directory: Path, name: str, host: str = "IP:127.0.0.1") -> Certificate:
    """Make a certificate for a host, as subjectAltName has it: `IP:…` or `DNS:…`."""
    made = Certificate(directory / f"{name}.pem", directory / f"{name}.key")
    command = [
        *(require("openssl"), "req", "-x509", "-newkey", "ec", "-pkeyopt"),
        *("ec_paramgen_curve:prime256v1", "-nodes", "-days", "2", "-subj", f"/CN={name}"),
        *("-addext", f"subjectAltName={host}", "-out", made.file, "-keyout", made.key),
    ]
    subprocess.run(command, check=True, capture_output=True, timeout=30)
    return made
