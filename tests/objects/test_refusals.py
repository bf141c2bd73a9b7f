"""The contract of storages, on object stores."""

from __future__ import annotations

import uuid

import pytest

from backends import Backend, initialise, open_backend, put
from backends.errors import InvalidKey
from tests.backends import test_contract_refusals as contract
from tests.backends.test_contract_refusals import *  # noqa: F403
from tests.objects.servers import ObjectStore


@pytest.fixture(scope="module")
def backend(store: ObjectStore) -> Backend:
    """One storage for all: what is refused changes nothing."""
    backend = open_backend(store.url())
    initialise(backend)
    return backend


@pytest.fixture(scope="module")
def whole_bucket(store: ObjectStore) -> Backend:
    """A storage that has its bucket alone: S3's names are not longer than our longest keys."""
    bucket = f"alone-{uuid.uuid4()}"
    store.client().create_bucket(Bucket=bucket)
    backend = open_backend(f"s3://{bucket}?endpoint={store.endpoint}")
    initialise(backend)
    return backend


@pytest.mark.parametrize("name", contract.KEYS)
def test_every_key_of_the_grammar_works(whole_bucket: Backend, name: str) -> None:
    contract.test_every_key_of_the_grammar_works(whole_bucket, name)


def test_a_key_that_our_prefix_makes_too_long_is_refused(backend: Backend) -> None:
    with pytest.raises(InvalidKey, match="too long for S3"):
        put(backend, contract.KEYS["longest"], b"x")
