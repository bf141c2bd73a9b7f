"""Every error has a status, a code of the spec and a body of its shape."""

from __future__ import annotations

import json

import pytest

from distserver.oci import errors

SPEC = {
    *("BLOB_UNKNOWN", "BLOB_UPLOAD_INVALID", "BLOB_UPLOAD_UNKNOWN", "DIGEST_INVALID", "DENIED"),
    *("MANIFEST_BLOB_UNKNOWN", "MANIFEST_INVALID", "MANIFEST_UNKNOWN", "NAME_INVALID"),
    *("NAME_UNKNOWN", "SIZE_INVALID", "UNAUTHORIZED", "UNSUPPORTED", "TOOMANYREQUESTS"),
}
DOCKERS = {"UNAVAILABLE", "PAGINATION_NUMBER_INVALID"}
CLASSES = [
    kind
    for kind in vars(errors).values()
    if isinstance(kind, type) and issubclass(kind, errors.RegistryError)
]


@pytest.mark.parametrize("kind", CLASSES, ids=lambda kind: kind.__name__)
def test_each_error_is_spec_shaped(kind: type[errors.RegistryError]) -> None:
    error = kind(detail={"a": 1})
    (entry,) = json.loads(json.dumps(errors.body(error)))["errors"]
    assert entry == {"code": kind.code, "message": kind.message, "detail": {"a": 1}}
    assert kind.code in SPEC | DOCKERS | {"UNKNOWN"}
    assert 400 <= kind.status < 600


def test_every_code_of_the_spec_has_a_class() -> None:
    assert {kind.code for kind in CLASSES} >= SPEC | DOCKERS


def test_headers_of_one_error_are_not_those_of_the_next() -> None:
    errors.ServiceUnavailable(headers={"X": "y"})
    assert errors.ServiceUnavailable().headers == {"Retry-After": "5"}
