"""One line a request, plain or JSON, never with queries or credentials."""

from __future__ import annotations

import json
import sys
from datetime import timedelta
from typing import Any

from gunicorn.glogging import Logger

from backends.errors import StorageError

METHODS = frozenset(("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"))
QUIET_ROUTES = ("/healthz", "/readyz", "/metrics")


class RequestLog(Logger):  # type: ignore[misc]  # gunicorn has no types
    """gunicorn's logger with our access line; access_log_format is "plain" or "json"."""

    def exception(self, msg: str, *args: Any, **kwargs: Any) -> None:
        """Write a traceback, but one line for what is no fault of the program.

        A client that fell silent is a TimeoutError without errno; content that proves damaged in
        the middle of an answer is a StorageError.
        """
        error = sys.exc_info()[1]
        if isinstance(error, TimeoutError) and error.errno is None:
            self.error_log.info("cut a silent connection")
        elif isinstance(error, StorageError):
            self.error_log.error("cut an answer short: %s: %s", type(error).__name__, error)
        else:
            super().exception(msg, *args, **kwargs)

    def access(self, resp: Any, req: Any, environ: dict[str, Any], request_time: timedelta) -> None:
        """Count a finished request, and write its line; a probe that went well is not worth one."""
        count(resp, environ)
        if environ.get("PATH_INFO") in QUIET_ROUTES and resp.status_code == 200:
            return
        fields = line(resp, environ, request_time)
        if self.cfg.access_log_format == "json":
            self.access_log.info(json.dumps(fields))
        else:
            self.access_log.info(" ".join(f"{key}={value}" for key, value in fields.items()))


def line(resp: Any, environ: dict[str, Any], request_time: timedelta) -> dict[str, object]:
    """What is said of a request: method, route, names, status, bytes, seconds, client."""
    return {
        "method": environ.get("REQUEST_METHOD", "-"),
        "route": environ.get("distserver.route", "-"),
        **environ.get("distserver.log", {}),
        "status": resp.status_code,
        "bytes": max(resp.sent, environ.get("distserver.sent", 0)),
        "seconds": round(request_time.total_seconds(), 4),
        "client": environ.get("REMOTE_ADDR", "-"),
    }


def count(resp: Any, environ: dict[str, Any]) -> None:
    """Count a finished request, where the application says how."""
    metrics = environ.get("distserver.metrics")
    if metrics is None:
        return
    method, route = environ.get("REQUEST_METHOD", "-"), environ.get("distserver.route", "-")
    known = method if method in METHODS else "other"
    metrics.requests.labels(known, route, str(resp.status_code)).inc()
    metrics.sent_bytes.inc(max(resp.sent, environ.get("distserver.sent", 0)))
    if error := environ.get("distserver.log", {}).get("error"):
        metrics.errors.labels(error).inc()
