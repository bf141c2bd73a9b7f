"""Lists of tags and referrers at an upstream: read page by page, within bounds."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
import requests

from distserver.oci.digests import Digest
from distserver.oci.manifests import MAX_MANIFEST_BYTES
from distserver.proxy.upstream.errors import UpstreamLied, UpstreamUnavailable
from tests.proxy.scripted import Asked, Reply, a_session, scripted

SUBJECT = Digest.of(b"subject")


@pytest.fixture
def session() -> Iterator[requests.Session]:
    with a_session() as made:
        yield made


def test_tags_are_read_page_by_page(session: requests.Session) -> None:
    def script(asked: Asked) -> Reply:
        if "last" in asked.path:
            return 200, {}, b'{"tags": ["v2"]}'
        link = {"Link": '</v2/a/tags/list?last=v1>; rel="next"'}
        return 200, link, b'{"tags": ["v1", "no/tag", 7]}'

    with scripted(script) as upstream:
        assert upstream.registry(session).tags("a") == {"v1", "v2"}


def test_referrers_are_the_digests_that_are_listed(session: requests.Session) -> None:
    entries = [{"digest": str(SUBJECT)}, {"digest": "x:y"}, {"size": 1}, 7]
    body = json.dumps({"manifests": entries}).encode()
    with scripted(lambda _: (200, {}, body)) as upstream:
        assert upstream.registry(session).referrers("a", SUBJECT) == {SUBJECT}


@pytest.mark.parametrize("body", [b'{"tags": null}', b'{"tags": 7}', b"{}"])
def test_lists_of_nothing(session: requests.Session, body: bytes) -> None:
    with scripted(lambda _: (200, {}, body)) as upstream:
        assert upstream.registry(session).tags("a") == set()


@pytest.mark.parametrize(
    "reply",
    [
        (200, {"Link": '<http://127.0.0.2:1/v2/a>; rel="next"'}, b'{"tags": []}'),
        (200, {"Link": '</v2/a/tags/list>; rel="next"'}, b'{"tags": []}'),
        (200, {}, b"[]"),
        (200, {}, b"{"),
        (200, {}, b" " * (MAX_MANIFEST_BYTES + 1)),
    ],
    ids=["elsewhere", "in a circle", "array", "broken", "endless"],
)
def test_lists_that_lead_nowhere(session: requests.Session, reply: Reply) -> None:
    with scripted(lambda _: reply) as upstream, pytest.raises((UpstreamUnavailable, UpstreamLied)):
        upstream.registry(session).tags("a")
    assert len(upstream.asked) <= 100
