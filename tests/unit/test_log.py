"""The log: tracebacks for our faults, one line for those of others."""

from __future__ import annotations

import errno
import logging
from collections.abc import Iterator

import pytest
from gunicorn.config import Config

from backends.errors import Corrupt
from distserver.server.log import RequestLog


@pytest.fixture
def log() -> Iterator[RequestLog]:
    made = RequestLog(Config())
    made.error_log.propagate = True
    yield made
    made.error_log.propagate = False


@pytest.mark.parametrize(
    ("error", "traceback"),
    [
        (TimeoutError("timed out"), False),
        (Corrupt("sha256:x"), False),
        (TimeoutError(errno.ETIMEDOUT, "Connection timed out"), True),
        (ValueError("ours"), True),
    ],
)
def test_which_errors_show_a_traceback(
    log: RequestLog, caplog: pytest.LogCaptureFixture, error: Exception, traceback: bool
) -> None:
    with caplog.at_level(logging.INFO, "gunicorn.error"):
        try:
            raise error
        except Exception:
            log.exception("Error handling request")
    (entry,) = caplog.records
    assert bool(entry.exc_info) is traceback
