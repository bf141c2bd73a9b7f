"""Requests to an object store: one client a process, made at the first request after a fork.

Deadlines: 3 s for a connection, 10 s without a byte. What fails at once (refused, reset, 5xx) is
tried three times; a further try begins only while it can end within the request's time, 15 s for
one without a large body.
"""

from __future__ import annotations

import io
import os
import re
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from boto3.session import Session
from botocore.config import Config

from backends.errors import StorageError, Unavailable
from backends.s3.failures import FAILURES, GivenUp, failure
from backends.s3.place import Place
from backends.s3.quick import QuickListing

CONNECT_SECONDS = 3
READ_SECONDS = 10
TRY_SECONDS = CONNECT_SECONDS + READ_SECONDS
REQUEST_SECONDS = 15.0
ATTEMPTS = 3
QUICK_SECONDS = 1.0
"""What failed later than this is not asked again."""
ASK_FIRST_BYTES = 128 * 1024
SLOWEST_BYTES_PER_SECOND = 128 * 1024
"""A body that goes to the server more slowly is given up."""
_CONTENT_RANGE = re.compile(r"bytes (\d+)-\d+/(\d+)")
_PROOF = {
    "get_object": {"ETag", "LastModified", "ContentLength"},
    "put_object": {"ETag"},
    "copy_object": {"CopyObjectResult"},
    "create_multipart_upload": {"UploadId"},
    "upload_part": {"ETag"},
    "upload_part_copy": {"CopyPartResult"},
    "complete_multipart_upload": {"ETag"},
    "list_objects_v2": {"IsTruncated"},
    "list_multipart_uploads": {"IsTruncated"},
}
"""What an answer has in any case: a page of a captive portal is 200, too."""

_this = threading.local()
"""Of this thread's request: tries so far, and until when there may be a further one (monotonic)."""
_making = threading.Lock()


def _forget_lock() -> None:
    global _making
    _making = threading.Lock()


os.register_at_fork(after_in_child=_forget_lock)  # another thread of the parent may have held it


class Body(io.BytesIO):
    """What is sent, until its time is over: in small pieces, each with a deadline of its own."""

    deadline = 0.0

    def prepare(self) -> float:
        """Go to the start; return the seconds that sending may take."""
        size = self.seek(0, io.SEEK_END)
        self.seek(0)
        seconds = REQUEST_SECONDS + size / SLOWEST_BYTES_PER_SECOND
        self.deadline = time.monotonic() + seconds
        return seconds

    def read(self, size: int | None = -1, /) -> bytes:
        """See io.BytesIO. Raises: TimeoutError."""
        if self.deadline and time.monotonic() > self.deadline:
            raise TimeoutError("the server takes the bytes too slowly")
        return super().read(size)


@dataclass(frozen=True, slots=True)
class Piece:
    """The answer to a GET of a range; whoever asked closes the body.

    total     bytes of the whole object
    modified  seconds since the epoch by the server's clock
    """

    total: int
    modified: float
    etag: str
    body: Any


class Client:
    """Requests to one bucket, from any thread of any process.

    failed_at  when a request failed last, monotonic
    """

    def __init__(self, place: Place) -> None:
        self.place = place
        self.failed_at = float("-inf")
        self._made: tuple[int, Any, Any, Any] = (0, None, None, None)

    def call(self, operation: str, body: Body | None = None, **parameters: Any) -> dict[str, Any]:
        """Make one request to the bucket, by botocore's name of the operation.

        Raises: NotFound, Full, Corrupt, Unavailable.
        Blocks on: 15 s at most, and 8 s more a MiB of body.
        """
        seconds = REQUEST_SECONDS
        if body is not None:
            seconds, parameters["Body"] = body.prepare(), body
        try:
            client = self._clients()[0]
            _this.tries, _this.until = 0, time.monotonic() + seconds - TRY_SECONDS
            answer: dict[str, Any] = getattr(client, operation)(
                Bucket=self.place.bucket, **parameters
            )
        except FAILURES as exc:
            raise self._failed(failure(exc, str(self.place))) from exc
        if not _PROOF.get(operation, set()) <= answer.keys():
            raise self._failed(Unavailable(f"{self.place}: this is no answer of an object store"))
        return answer

    def put(self, name: str, data: bytes) -> None:
        """Store a small object; durable on return. Raises: Full, Unavailable."""
        self.call("put_object", Key=name, Body=data)

    def names(self, prefix: str) -> list[str] | None:
        """Return every name that begins so, if that is a short answer; None = list by call.

        Raises: Unavailable. Blocks on: 13 s at most.
        """
        began = time.monotonic()
        try:
            quick = self._clients()[2]
            found: list[str] | None = quick(prefix) if quick else None
        except FAILURES as exc:
            # What fails at once is tried again by call; for more than that there is no time.
            if time.monotonic() - began > QUICK_SECONDS:
                raise self._failed(failure(exc, str(self.place))) from exc
            found = None
        if found is None and time.monotonic() - began > QUICK_SECONDS:
            raise self._failed(Unavailable(f"{self.place}: the server fails, and slowly"))
        return found

    def get(self, name: str, start: int, stop: int, etag: str = "") -> Piece:
        """Ask for the half-open range of an object, or for what there is of it.

            start  bytes; of an object that is not longer than it, Corrupt is raised
            stop   bytes, > start
            etag   of the object that it must still be; "" = any
        Raises: NotFound, Corrupt, Unavailable.
        """
        match: dict[str, Any] = {"IfMatch": etag} if etag else {}
        answer = self.call("get_object", Key=name, Range=f"bytes={start}-{stop - 1}", **match)
        found = _CONTENT_RANGE.fullmatch(answer.get("ContentRange") or "")
        first, total = (int(found[1]), int(found[2])) if found else (0, answer["ContentLength"])
        piece = Piece(total, answer["LastModified"].timestamp(), answer["ETag"], answer["Body"])
        if first != start:
            piece.body.close()
            raise Unavailable(f"{self.place}: the server does not give ranges of objects")
        return piece

    def fetch(self, name: str, stop: int, tries: int = ATTEMPTS) -> tuple[bytes, Piece]:
        """Return the beginning of an object, at most stop bytes, and what its answer said.

        Raises: NotFound, Corrupt, Unavailable.
        """
        piece = self.get(name, 0, stop)
        try:
            return self.read(piece.body, min(stop, piece.total)), piece
        except Unavailable:
            if tries == 1:
                raise
        finally:
            piece.body.close()
        return self.fetch(name, stop, tries - 1)

    def size(self, name: str) -> int:
        """Return the bytes of an object that is not empty. Raises: NotFound, Unavailable."""
        return self.fetch(name, 1)[1].total

    def read(self, body: Any, n: int) -> bytes:
        """Read n bytes of an answer's body. Raises: Unavailable (also: it ends before)."""
        try:
            data: bytes = body.read(n)
        except FAILURES as exc:
            raise self._failed(failure(exc, str(self.place))) from exc
        if len(data) < n:
            raise self._failed(Unavailable(f"{self.place}: an answer broke off"))
        return data

    def signed_url(self, name: str, seconds: int) -> str:
        """Return a URL under the redirect endpoint that gives an object to anybody, for a while.

        Raises: Unavailable (no credentials). Asks nobody.
        """
        asked = {"Bucket": self.place.bucket, "Key": name}
        try:
            signer = self._clients()[1]
            url: str = signer.generate_presigned_url("get_object", asked, ExpiresIn=seconds)
        except FAILURES as exc:
            raise failure(exc, str(self.place)) from exc
        return url

    def _failed(self, error: StorageError) -> StorageError:
        if isinstance(error, Unavailable):
            self.failed_at = time.monotonic()
        return error

    def _clients(self) -> tuple[Any, Any, Any]:
        """The clients of this process: one that asks, one that signs for redirects; QuickListing.

        The last one is None where it cannot be used.
        """
        if self._made[0] != os.getpid():
            with _making:
                if self._made[0] != os.getpid():
                    self._made = (os.getpid(), *_make(self.place))
        return self._made[1:]


def _make(place: Place) -> tuple[Any, Any, Any]:
    options = place.options
    path_style = bool(options.endpoint) if options.path_style is None else options.path_style
    config = Config(
        connect_timeout=CONNECT_SECONDS,
        read_timeout=READ_SECONDS,
        retries={"mode": "standard", "total_max_attempts": ATTEMPTS},
        max_pool_connections=options.connections,
        signature_version="s3v4",
        user_agent="distserver",  # its own one costs a tenth of a request to put together
        s3={"addressing_style": "path" if path_style else "auto"},
        # Trailers with checksums: some servers refuse them, others store them inside the object.
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
    )
    session = Session(region_name=options.region or None)
    # An explicit file wins over AWS_CA_BUNDLE and REQUESTS_CA_BUNDLE; None asks for those.
    make: Callable[[str], Any] = lambda endpoint: session.client(  # noqa: E731
        "s3", endpoint_url=endpoint or None, verify=options.ca_file or None, config=config
    )
    client = make(options.endpoint)
    client.meta.events.register("before-send.s3", _prepare_try)
    client.meta.events.register("before-send.s3.HeadBucket", _refuse_redirect)
    signer = make(options.redirect_endpoint) if options.redirect_endpoint else client
    return client, signer, QuickListing(client, place) if options.endpoint and path_style else None


def _refuse_redirect(**_: Any) -> None:
    """Ask for no bucket's region, as botocore does after a redirect: that would redirect again."""
    raise GivenUp(
        "sent elsewhere: the bucket is in another region (s3_region), or this is a portal"
    )


def _prepare_try(request: Any, **_: Any) -> None:
    """Let no further try begin that could not end in time. Called by botocore before each try.

    What is small is sent at once: asking first (`Expect: 100-continue`) would take a round trip.
    """
    if int(request.headers.get("Content-Length", 0)) <= ASK_FIRST_BYTES:
        request.headers.pop("Expect", None)
    _this.tries += 1
    if _this.tries > 1 and time.monotonic() > _this.until:
        raise GivenUp("the server fails, or is too busy")
