"""Pages of a sorted list: `n`, `last` and the Link to the next. Spec: end-8b, "Listing Tags"."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from urllib.parse import urlencode

from flask import Response, request

from distserver.api.responses import document
from distserver.oci.ranges import parse_count

MAX_COUNT = 1000


def page(items: Sequence[str], field: str, extra: dict[str, str], default: int | None) -> Response:
    """Answer one page of sorted items.

    field    name of the list in the answer
    extra    what else the answer says
    default  items on a page when the client does not say; None = all
    """
    count = parse_count(request.args.get("n"), MAX_COUNT)
    count = default if count is None else count
    start = bisect_right(items, request.args.get("last", "")) if request.args.get("last") else 0
    shown = items[start:] if count is None else items[start : start + count]
    response = document({**extra, field: list(shown)})
    if shown and start + len(shown) < len(items):
        query = urlencode({"n": len(shown), "last": shown[-1]})
        response.headers["Link"] = f'<{request.path}?{query}>; rel="next"'
    return response
