"""Data copied by the server itself, under a name of its own: nothing passes through us.

A server may say nothing while it copies, and is given up when silent; so in pieces that also a slow
one copies in time.
"""

from __future__ import annotations

from backends.errors import Unavailable
from backends.s3.client import Client
from backends.s3.entries import Pointer, new_data_id
from backends.s3.multipart import MAX_PARTS, Multipart

PIECE_BYTES = 32 * 1024 * 1024
"""Copied by one request, which 3 MiB/s are enough for; more where it would be too many pieces."""


def copy_data(client: Client, source: Pointer) -> Pointer:
    """Return a pointer to data of its own, the bytes of another, durable on return.

    Raises: NotFound (the data is gone), Full, Unavailable.
    Blocks on: 15 s for each 32 MiB at most.
    """
    copied = Pointer(new_data_id(), source.size)
    name, of = client.place.data(copied.data_id), client.place.data(source.data_id)
    if source.size <= PIECE_BYTES:
        client.call("copy_object", Key=name, CopySource=_place_of(client, of))
    else:
        _copy_pieces(client, name, of, source.size)
    # Some servers take a request for a range of a copy as one for the whole.
    found = client.size(name)
    if found != source.size:
        raise Unavailable(f"{client.place}: the server copied {found} bytes, not {source.size}")
    return copied


def _copy_pieces(client: Client, name: str, of: str, size: int) -> None:
    upload = Multipart(client, name)
    step = max(PIECE_BYTES, -(-size // MAX_PARTS))
    try:
        for start in range(0, size, step):
            upload.add_copy(_place_of(client, of), start, min(start + step, size))
        upload.complete()
    except BaseException:
        upload.abort()
        raise


def _place_of(client: Client, name: str) -> dict[str, str]:
    return {"Bucket": client.place.bucket, "Key": name}
