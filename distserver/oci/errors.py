"""Owns every error that a client can be shown: status, spec code, message and the body's shape.

Each class is one code of the spec, or a refinement with its own status. It knows nothing of Flask;
the API renders these and the registry raises them.
Spec: "Error Codes", code-1 to code-14; UNAVAILABLE and PAGINATION_NUMBER_INVALID are Docker's.
"""

from __future__ import annotations

from collections.abc import Mapping


class RegistryError(Exception):
    """A request cannot be served, with the answer that says so. Raise a subclass.

    message  for people; the class has a default
    detail   any JSON value, for programs
    headers  to be sent with the answer, added to the class's own
    """

    status: int = 500
    code: str = "UNKNOWN"
    message: str = "internal error"
    default_headers: Mapping[str, str] = {}

    def __init__(
        self,
        message: str | None = None,
        detail: object = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        if message is not None:
            self.message = message
        self.detail = detail
        self.headers: dict[str, str] = {**self.default_headers, **(headers or {})}
        super().__init__(self.message)


class BlobUnknown(RegistryError):
    """code-1: the repository does not link this blob."""

    status, code, message = 404, "BLOB_UNKNOWN", "blob unknown to the repository"


class BlobUploadInvalid(RegistryError):
    """code-2: a request on an upload makes no sense. Clients retry it, so not for bad digests."""

    status, code, message = 400, "BLOB_UPLOAD_INVALID", "blob upload invalid"


class ChunkOutOfOrder(BlobUploadInvalid):
    """code-2 with 416: the chunk does not start where the upload stands; the session lives on."""

    status, message = 416, "the chunk does not continue the upload"


class BlobUploadUnknown(RegistryError):
    """code-3: no such upload session here: finished, expired, cancelled or never begun."""

    status, code, message = 404, "BLOB_UPLOAD_UNKNOWN", "blob upload unknown to the repository"


class DigestInvalid(RegistryError):
    """code-4: a digest is malformed, of an unsupported algorithm, or not that of the content."""

    status, code, message = 400, "DIGEST_INVALID", "digest invalid or not that of the content"


class ManifestBlobUnknown(RegistryError):
    """code-5: a pushed manifest refers to content that the repository does not have."""

    status, code = 404, "MANIFEST_BLOB_UNKNOWN"
    message = "manifest references content unknown to the repository"


class ManifestInvalid(RegistryError):
    """code-6: the pushed manifest cannot be accepted."""

    status, code, message = 400, "MANIFEST_INVALID", "manifest invalid"


class ManifestTooLarge(ManifestInvalid):
    """code-6 with 413: the manifest is over the size limit."""

    status, message = 413, "manifest too large"


class TagInvalid(ManifestInvalid):
    """code-6: a tag is outside the grammar; the spec lists no code for tags."""

    message = "tag invalid"


class TooManyTags(ManifestInvalid):
    """code-6 with 414: more `tag` parameters on one push than we take."""

    status, message = 414, "too many tags in one request"


class ManifestUnknown(RegistryError):
    """code-7: the repository has no such manifest or tag."""

    status, code, message = 404, "MANIFEST_UNKNOWN", "manifest unknown to the repository"


class NameInvalid(RegistryError):
    """code-8: the repository name is outside the grammar, or too long."""

    status, code, message = 400, "NAME_INVALID", "repository name invalid"


class NameUnknown(RegistryError):
    """code-9: there is no repository of this name."""

    status, code, message = 404, "NAME_UNKNOWN", "repository name unknown to the registry"


class SizeInvalid(RegistryError):
    """code-10: the body is not as long as the request said."""

    status, code, message = (
        400,
        "SIZE_INVALID",
        "the length of the content is not the one announced",
    )


class RangeNotSatisfiable(SizeInvalid):
    """code-10 with 416: no byte of the blob is in the requested range."""

    status, message = 416, "requested range not satisfiable"


class TooSlow(SizeInvalid):
    """code-10 with 408: the body stalled; what arrived before may be kept."""

    status, message = 408, "the request body arrived too slowly"


class Unauthorized(RegistryError):
    """code-11: credentials are missing or wrong; the caller adds the WWW-Authenticate challenge."""

    status, code, message = 401, "UNAUTHORIZED", "authentication required"


class Denied(RegistryError):
    """code-12: the credentials are good and do not allow this."""

    status, code, message = 403, "DENIED", "requested access to the resource is denied"


class Purged(Denied):
    """code-12: an operator purged this content: it is not served, taken or fetched again.

    403, since 404 would be acted upon: who pushes would send all of it before it is refused, and a
    registry that pulls from us would take it for absent. No status keeps containerd from its next
    mirror: since 2021 (its pull request 5275) it goes on after any failure, before that after a
    404. Of several failures it tells the operator of a 403 rather than of a 404.
    """

    message = "it was purged here for good: ask the operator of this registry"


class StorageFull(Denied):
    """code-12 with 507: no room for this push; pulls go on."""

    status, message = 507, "the registry's storage is full"


class Unsupported(RegistryError):
    """code-13: the operation is switched off or unknown; the caller adds Allow."""

    status, code, message = 405, "UNSUPPORTED", "the operation is unsupported"


class TooManyRequests(RegistryError):
    """code-14: slow down; callers that know better than a second say so in Retry-After."""

    status, code, message = 429, "TOOMANYREQUESTS", "too many requests"
    default_headers = {"Retry-After": "1"}


class ServiceUnavailable(RegistryError):
    """The storage or the upstream gave no answer, so we know nothing. Never say 404 instead."""

    status, code, message = 503, "UNAVAILABLE", "temporarily unavailable"
    default_headers = {"Retry-After": "5"}


class NotArrived(ServiceUnavailable):
    """It was pushed to another copy of this storage, from where not all of it has come yet."""

    message = "not all of it has arrived here yet"


class PaginationNumberInvalid(RegistryError):
    """The parameter `n` of a listing is not a number we take."""

    status, code, message = 400, "PAGINATION_NUMBER_INVALID", "invalid number of results requested"


def body(error: RegistryError) -> dict[str, list[dict[str, object]]]:
    """Return the JSON body for an error. Spec: "Error Codes" (errors[].code, message, detail)."""
    return {"errors": [{"code": error.code, "message": error.message, "detail": error.detail}]}
