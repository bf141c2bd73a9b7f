"""The contract of storages, on object stores."""

from tests.backends.test_contract_entries import *  # noqa: F403
