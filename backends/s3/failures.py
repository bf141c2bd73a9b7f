"""The one place where an error of botocore becomes one of ours, in words for the operator."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from botocore import exceptions as told
from botocore.parsers import ResponseParserError
from urllib3.exceptions import HTTPError

from backends.errors import Corrupt, Full, NotFound, StorageError, Unavailable

FAILURES = (told.BotoCoreError, told.ClientError, ResponseParserError, HTTPError, OSError)
"""All that a request, or reading its answer's body, can raise."""

_FULL = frozenset(
    {"QuotaExceeded", "XMinioStorageFull", "XMinioAdminBucketQuotaExceeded", "InsufficientStorage"}
)
_WORDS = {
    "NoSuchBucket": "there is no such bucket",
    "AccessDenied": "access is denied: the key lacks rights to this bucket",
    "InvalidAccessKeyId": "the server does not know the access key",
    "SignatureDoesNotMatch": "the secret key is wrong",
    "ExpiredToken": "the credentials have expired",
    "SlowDown": "the server is busy and asks for patience",
    "NoSuchUpload": "the upload was given up meanwhile, by a sweep or by a rule of the bucket",
    "PreconditionFailed": "the object was replaced meanwhile",
    "AuthorizationHeaderMalformed": "the bucket is in another region: set s3_region",
}


class GivenUp(OSError):
    """We end a request ourselves; the text says why."""


class Conflict(Unavailable):
    """A condition of ours did not hold: the object is there already, or another one."""


def failure(exc: Exception, what: str) -> StorageError:
    """Return what to raise. NotFound only where the server said that the bucket has no such key.

    what  the bucket and where it is
    """
    if isinstance(exc, told.ClientError):
        return _refusal(exc.response, what)
    if isinstance(exc, told.NoCredentialsError | told.PartialCredentialsError):
        return Unavailable(f"{what}: no credentials: set AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY")
    if isinstance(exc, told.ConnectTimeoutError | told.ReadTimeoutError | TimeoutError):
        return Unavailable(f"{what}: the server does not answer")
    if isinstance(exc, told.SSLError):
        return Unavailable(f"{what}: its certificate is not trusted (s3_ca_file): {exc}")
    if isinstance(exc, told.EndpointConnectionError):
        return Unavailable(f"{what}: the server cannot be reached")
    return Unavailable(f"{what}: {exc}")


def _refusal(response: Mapping[str, Any], what: str) -> StorageError:
    code = str(response.get("Error", {}).get("Code", ""))
    metadata = response.get("ResponseMetadata", {})
    status = metadata.get("HTTPStatusCode", 0)
    if code == "NoSuchKey" and status == 404:
        return NotFound(what)
    if code in _FULL or status == 507:
        return Full(f"{what}: no room is left, or a quota is reached ({code})")
    if status == 416:
        return Corrupt(f"{what}: an object is shorter than it was written")
    if code == "RequestTimeTooSkewed":
        return Unavailable(f"{what}: {_clocks(metadata.get('HTTPHeaders', {}))}")
    words = _WORDS.get(code) or response.get("Error", {}).get("Message") or "the server refuses"
    text = f"{what}: {words} ({status} {code})"
    return Conflict(text) if status in (409, 412) else Unavailable(text)


def _clocks(headers: Mapping[str, str]) -> str:
    ours = datetime.now(UTC).strftime("%a, %d %b %Y %H:%M:%S GMT")
    theirs = headers.get("date", "another time")
    return f"the clock of this machine says {ours}, the server's {theirs}: set the wrong one right"
