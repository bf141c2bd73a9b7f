"""Until when a certificate holds. Pure.

Just enough of DER for that: the standard library decodes no certificate that is not being used.
"""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from datetime import UTC, datetime

_INTEGER, _SEQUENCE, _UTC_TIME, _TIME, _VERSION = 0x02, 0x30, 0x17, 0x18, 0xA0


@dataclass(frozen=True, slots=True)
class Validity:
    """From when until when, in seconds since the epoch."""

    since: float
    until: float


def validity_of_pem(pem: bytes) -> Validity:
    """Return the validity of the first certificate of a PEM file. Raises: ValueError."""
    text = pem.decode("ascii", "replace")
    begin, end = text.find(ssl.PEM_HEADER), text.find(ssl.PEM_FOOTER)
    if not 0 <= begin < end:
        raise ValueError("there is no certificate in it")
    return validity(ssl.PEM_cert_to_DER_cert(text[begin : end + len(ssl.PEM_FOOTER)]))


def validity(der: bytes) -> Validity:
    """Return the validity of a certificate. Raises: ValueError. Spec: RFC 5280 §4.1."""
    try:
        certificate, _ = _take(der, _SEQUENCE)
        fields, _ = _take(certificate, _SEQUENCE)
        if fields[0] == _VERSION:
            _, fields = _take(fields, _VERSION)
        for skipped in (_INTEGER, _SEQUENCE, _SEQUENCE):  # serial, algorithm, issuer
            _, fields = _take(fields, skipped)
        times, _ = _take(fields, _SEQUENCE)
        since, times = _time(times)
        until, _ = _time(times)
    except IndexError as exc:
        raise ValueError("the certificate is cut off") from exc
    return Validity(since, until)


def _take(data: bytes, tag: int) -> tuple[bytes, bytes]:
    """Split off the contents of the first value, which must have this tag."""
    if data[0] != tag:
        raise ValueError("this is no certificate")
    size, start = data[1], 2
    if size >= 0x80:
        start += size & 0x7F
        size = int.from_bytes(data[2:start])
    if len(data) < start + size:
        raise ValueError("the certificate is cut off")
    return data[start : start + size], data[start + size :]


def _time(data: bytes) -> tuple[float, bytes]:
    tag = data[0]
    if tag not in (_UTC_TIME, _TIME):
        raise ValueError("this is no certificate")
    value, rest = _take(data, tag)
    text = value.decode("ascii")
    if tag == _UTC_TIME:  # two digits of the year: from 1950 to 2049
        text = ("19" if text[:2] >= "50" else "20") + text
    return datetime.strptime(text, "%Y%m%d%H%M%SZ").replace(tzinfo=UTC).timestamp(), rest
