"""Our command with short pauses in the background, for runs at reduced counts. A command:

python hasty.py PYTHON -m distserver serve …

What a set mends within seconds, and a guard takes back after half a minute, takes a second then.
Deadlines are those of the product.
"""

from __future__ import annotations

import runpy
import sys
from functools import partial

from backends import guard
from distserver.registry import janitor

PAUSE_SECONDS = 0.2

if __name__ == "__main__":
    guard.Probing = partial(guard.Probing, interval_seconds=PAUSE_SECONDS)  # type: ignore[misc,assignment]
    janitor.TEND_SECONDS = PAUSE_SECONDS
    sys.argv = sys.argv[3:]
    runpy.run_module("distserver", run_name="__main__", alter_sys=True)
