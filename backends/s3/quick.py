"""The question that each pull asks, which names begin so, for a third of botocore's work.

Asked once, by the connections of the client and signed as it signs. What is not a plain answer with
all names is none: the client asks again then, and knows of retries and of errors.
"""

from __future__ import annotations

from typing import Any
from urllib.parse import quote
from xml.etree import ElementTree

from botocore.awsrequest import AWSRequest

from backends.s3.place import Place

_NAMESPACE = "{http://s3.amazonaws.com/doc/2006-03-01/}"
_ANY_REGION = {"aws-global": "us-east-1"}


class QuickListing:
    """Listings of one page, from a server at an endpoint of its own that has buckets by path."""

    def __init__(self, client: Any, place: Place) -> None:
        # Its own parts, no public ones: so TLS, proxies, deadlines and connections are the same.
        self._http, self._signer = client._endpoint.http_session, client._request_signer
        self._region = _ANY_REGION.get(client.meta.region_name, client.meta.region_name)
        self._url = f"{place.options.endpoint.rstrip('/')}/{place.bucket}?list-type=2&prefix="

    def __call__(self, prefix: str) -> list[str] | None:
        """Return every name that begins so; None = there is no such answer.

        Raises: what botocore raises. Blocks on: one try, see client.
        """
        request = AWSRequest("GET", self._url + quote(prefix, safe=""))
        self._signer.get_auth_instance("s3", self._region, "s3v4").add_auth(request)
        answer = self._http.send(request.prepare())
        return _names(answer.content) if answer.status_code == 200 else None


def _names(text: bytes) -> list[str] | None:
    """Return all names of a listing; None where it has more pages, or is none."""
    try:
        root = ElementTree.fromstring(text)  # noqa: S314  botocore trusts the server in the same way
    except ElementTree.ParseError:
        return None
    whole = root.findtext(f"{_NAMESPACE}IsTruncated") == "false"
    keys = root.iterfind(f"{_NAMESPACE}Contents/{_NAMESPACE}Key")
    return [key.text or "" for key in keys] if whole else None
