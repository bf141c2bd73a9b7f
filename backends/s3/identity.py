"""Whether a bucket is still the storage that it was: asked again before each answer of ours.

An emptied bucket, or another one of the same name, must never be read as an empty storage. What was
seen a second ago still holds, unless a request failed since: a server does not become another one
without going away.
"""

from __future__ import annotations

import time

from backends.base import Backend
from backends.errors import NotFound
from backends.identity import DIRECTORY, require, store_ids
from backends.s3.client import Client

FRESH_SECONDS = 1.0


class Known:
    """Recognises a storage by its identity.

        raw          the same storage without this question
        expected_id  must be among the ids; None = the first one met, and that one from then on
    No locks: threads that ask at once do no harm.
    """

    def __init__(self, client: Client, raw: Backend, expected_id: str | None) -> None:
        self._client, self._raw = client, raw
        self._expected_id = expected_id
        self._seen = float("-inf")

    def __call__(self) -> None:
        """Raise Unavailable unless this is the storage."""
        asked = time.monotonic()
        if self._seen > max(asked - FRESH_SECONDS, self._client.failed_at):
            return
        if self._expected_id is None or not self._is_there(self._expected_id):
            ids = store_ids(self._raw)
            self._expected_id = require(self._expected_id, ids, str(self._client.place))
        self._seen = asked

    def _is_there(self, store_id: str) -> bool:
        try:
            self._raw.stat(f"{DIRECTORY}/{store_id}")
        except NotFound:
            return False
        return True


def anything() -> None:
    """Accept any bucket."""
