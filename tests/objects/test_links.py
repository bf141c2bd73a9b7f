"""The contract of storages, on object stores."""

from tests.backends.test_contract_links import *  # noqa: F403
from tests.backends.test_contract_links import _source  # noqa: F401
