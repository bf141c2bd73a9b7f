"""Answers: built in one place, with every header final before the first byte."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from flask import Response, request

from backends.base import Reader

READ_BYTES = 1 << 20
Body = Callable[[Reader, int], Iterable[bytes]]


def empty(status: int, headers: Mapping[str, str]) -> Response:
    """An answer without a body."""
    response = Response(status=status, headers=dict(headers))
    del response.headers["Content-Type"]
    return response


def document(value: object, media_type: str = "application/json", status: int = 200) -> Response:
    """A JSON answer; also sets its length."""
    return Response(json.dumps(value), status=status, content_type=media_type)


def stream(reader: Reader, size: int, status: int, headers: Mapping[str, str]) -> Response:
    """Send size bytes of a reader, from where it stands.

    The server may offer a better way to send a file (environ "distserver.file_body": sendfile);
    a HEAD closes the reader unread.
    """
    send: Body = request.environ.get("distserver.file_body", FileBody)
    if request.method == "HEAD":
        reader.close()
    body: Any = () if request.method == "HEAD" else send(reader, size)
    response = Response(body, status=status, headers=dict(headers), direct_passthrough=True)
    response.headers["Content-Length"] = str(size)
    return response


class FileBody:
    """The bytes of a reader as a body that never ends well when it ends early."""

    def __init__(self, reader: Reader, size: int) -> None:
        self._reader = reader
        self._size = size

    def __iter__(self) -> Iterator[bytes]:
        left = self._size
        while left:
            data = self._reader.read(min(READ_BYTES, left))
            if not data:
                raise OSError("the entry ended before its size")
            left -= len(data)
            yield data

    def close(self) -> None:
        """Called by the server when the answer is over, or given up."""
        self._reader.close()
