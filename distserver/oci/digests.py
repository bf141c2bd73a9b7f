"""Owns digests: their grammar, the algorithms we support, and the hashes that make them.

Spec: image-spec descriptor.md, "Digests".
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass

from distserver.oci.errors import DigestInvalid

ALGORITHMS = {"sha256": 64, "sha512": 128}
"""Supported algorithms and the number of lower-case hexadecimal digits of each."""

_COMPONENT = "[a-z0-9]+"
_GRAMMAR = re.compile(rf"({_COMPONENT}(?:[+._-]{_COMPONENT})*):([a-zA-Z0-9=_-]+)", re.ASCII)
_HEX = re.compile(r"[0-9a-f]+", re.ASCII)
_MAX_TEXT = 512
_HASHES = {"sha256": hashlib.sha256, "sha512": hashlib.sha512}


@dataclass(frozen=True, slots=True, order=True)
class Digest:
    """The identifier of content: an algorithm of ALGORITHMS and lower-case hex of its length."""

    algorithm: str
    hex: str

    def __str__(self) -> str:
        return f"{self.algorithm}:{self.hex}"

    @classmethod
    def parse(cls, text: str) -> Digest:
        """Return the digest that text writes.

        Algorithms that we lack, such as blake3, are named in the message.
        Raises: DigestInvalid (grammar, length, upper-case hex, unsupported algorithm).
        """
        match = _GRAMMAR.fullmatch(text) if len(text) <= _MAX_TEXT else None
        if match is None:
            raise DigestInvalid("digest does not match the grammar", _shown(text))
        algorithm, encoded = parse_algorithm(match[1]), match[2]
        if len(encoded) != ALGORITHMS[algorithm] or not _HEX.fullmatch(encoded):
            wanted = f"{algorithm} needs {ALGORITHMS[algorithm]} lower-case hexadecimal digits"
            raise DigestInvalid(wanted, _shown(text))
        return cls(algorithm, encoded)

    @classmethod
    def of(cls, data: bytes, algorithm: str = "sha256") -> Digest:
        """Return the digest of data. Raises: DigestInvalid for an unsupported algorithm."""
        running = new_hash(algorithm)
        running.update(data)
        return cls(algorithm, running.hexdigest())

    def hasher(self) -> hashlib._Hash:
        """Return a fresh hash of this digest's algorithm, to verify content against it."""
        return new_hash(self.algorithm)


def new_hash(algorithm: str) -> hashlib._Hash:
    """Return a fresh hash object. Raises: DigestInvalid for an unsupported algorithm."""
    return _HASHES[parse_algorithm(algorithm)]()


def parse_algorithm(text: str) -> str:
    """Return text if it names a supported algorithm. Raises: DigestInvalid."""
    if text not in ALGORITHMS:
        supported = ", ".join(ALGORITHMS)
        raise DigestInvalid(
            f"digest algorithm {text[:64]!r} is unsupported (supported: {supported})", _shown(text)
        )
    return text


def _shown(text: str) -> str:
    """Cut a client's text to what an error body may carry back."""
    return text[:_MAX_TEXT]
