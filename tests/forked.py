"""Work in a fork of the test's process, which never comes back into the test runner."""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Callable


def fork(work: Callable[[], object]) -> int:
    """Begin the work in a child; return its process id.

    Its exit code is 0; 1 if the work failed or returned False: the reason is on standard error.
    """
    pid = os.fork()
    if pid:
        return pid
    code = 1
    try:
        code = int(work() is False)
    except BaseException:  # whatever it was: two test runners would go on otherwise
        traceback.print_exc(file=sys.stderr)
    finally:
        os._exit(code)


def exit_code(pid: int) -> int:
    """Wait for a child; its exit code, or minus the signal that killed it."""
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
