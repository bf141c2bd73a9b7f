"""A large object on its way: one part is sent while the caller fills the next."""

from __future__ import annotations

import logging
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial

from backends.errors import StorageError, Unavailable
from backends.s3.client import Body, Client

_log = logging.getLogger(__name__)
MIN_PART_BYTES = 8 * 1024 * 1024
MAX_PARTS = 10_000
_PARTS_OF_A_SIZE = 1000


def part_bytes(number: int) -> int:
    """Size of a part, 1 <= number <= MAX_PARTS: 8 MiB, doubled every 1,000 parts; 8 TiB in all."""
    return MIN_PART_BYTES << ((number - 1) // _PARTS_OF_A_SIZE)


class Multipart:
    """Parts of one object, of which nothing is visible before complete().

    At most one part is being sent, by one thread; so at most two are in memory.

    next_number  of the part that comes next, from 1 on
    Raises: Full, Unavailable; so do all of its methods but abort.
    """

    def __init__(self, client: Client, name: str) -> None:
        self._client, self._name = client, name
        self._id = client.call("create_multipart_upload", Key=name)["UploadId"]
        self._thread = ThreadPoolExecutor(1, "s3-part")
        self._sent: list[dict[str, object]] = []
        self._sending: Future[None] | None = None
        self.next_number = 1

    def add(self, part: Body) -> None:
        """Take a part, and send it when the one before has arrived; it is not to be used again."""
        self._begin(partial(self._send, part))

    def add_copy(self, source: dict[str, str], start: int, stop: int) -> None:
        """The same with a part that the server copies: the half-open range of another object.

        Raises: also NotFound.
        """
        self._begin(partial(self._copy, source, f"bytes={start}-{stop - 1}"))

    def complete(self) -> None:
        """Make the object of its parts, durable on return."""
        self._wait()
        self._client.call(
            "complete_multipart_upload",
            Key=self._name,
            UploadId=self._id,
            MultipartUpload={"Parts": self._sent},
        )
        self._thread.shutdown(wait=False)

    def abort(self) -> None:
        """Drop the parts; what the server then keeps is removed by a sweep."""
        self._thread.shutdown(wait=True, cancel_futures=True)
        try:
            self._client.call("abort_multipart_upload", Key=self._name, UploadId=self._id)
        except StorageError as exc:
            _log.warning("parts of an upload stay until a sweep: %s", exc)

    def _begin(self, send: Callable[[int], str]) -> None:
        self._wait()
        if self.next_number > MAX_PARTS:
            raise Unavailable(f"{self._client.place}: an entry has {MAX_PARTS} parts at most")
        self._sending = self._thread.submit(self._note, self.next_number, send)
        self.next_number += 1

    def _wait(self) -> None:
        sending, self._sending = self._sending, None
        if sending is not None:
            sending.result()

    def _note(self, number: int, send: Callable[[int], str]) -> None:
        self._sent.append({"PartNumber": number, "ETag": send(number)})

    def _send(self, part: Body, number: int) -> str:
        answer = self._client.call(
            "upload_part", part, Key=self._name, UploadId=self._id, PartNumber=number
        )
        return str(answer["ETag"])

    def _copy(self, source: dict[str, str], range_: str, number: int) -> str:
        answer = self._client.call(
            "upload_part_copy",
            Key=self._name,
            UploadId=self._id,
            PartNumber=number,
            CopySource=source,
            CopySourceRange=range_,
        )
        return str(answer["CopyPartResult"]["ETag"])
