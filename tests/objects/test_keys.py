"""The contract of storages, on object stores."""

from tests.backends.test_contract_keys import *  # noqa: F403
