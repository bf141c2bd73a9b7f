"""JSON that two readers could understand differently is no JSON."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from distserver.oci.strictjson import MAX_DEPTH, JsonInvalid, loads

BAD = [
    b"",
    b"{",
    b'{"a": 1, "a": 2}',
    b'[{"a": {"b": 1, "b": 1}}]',
    b"NaN",
    b"[Infinity]",
    b"-Infinity",
    b"1e400",
    b"1" * 65,
    b'"\\ud800"',
    b'{"\\udfff": 1}',
    b"\xff\xfe{\x00}\x00",
    b"\xef\xbb\xbf{}",
    b'"\xff"',
    b"[" * 200_000,
    b"[" * (MAX_DEPTH + 1) + b"]" * (MAX_DEPTH + 1),
    b"{} {}",
    b"{'a': 1}",
    b"[1,]",
    b'"\n"',
]
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=10,
)


@pytest.mark.parametrize("body", BAD, ids=lambda body: repr(body[:20]))
def test_refused(body: bytes) -> None:
    with pytest.raises(JsonInvalid):
        loads(body)


@given(st.binary(max_size=60))
def test_any_bytes_are_a_value_or_a_refusal(body: bytes) -> None:
    try:
        loads(body)
    except JsonInvalid as exc:
        assert str(exc)


@given(JSON)
def test_what_json_writes_is_read(value: object) -> None:
    try:
        body = json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return
    assert loads(body) == value


def test_the_deepest_nesting_is_read() -> None:
    assert loads(b"[" * MAX_DEPTH + b"]" * MAX_DEPTH)
