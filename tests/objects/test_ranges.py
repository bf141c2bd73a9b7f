"""The contract of storages, on object stores."""

from tests.backends.test_contract_ranges import *  # noqa: F403
from tests.backends.test_contract_ranges import _entry  # noqa: F401
