"""What servers of tests have in place of a cluster.

Python imports this at its start when its directory is on the path.
"""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path

from distserver.evicting import making

if account := os.environ.get("TEST_ACCOUNT"):
    making.in_cluster = partial(making.in_cluster, account=Path(account))
