"""gunicorn settings as data, for `gunicorn -c python:distserver.server.settings`."""

from __future__ import annotations

import os

from distserver import metrics
from distserver.config import Config, load


def settings(config: Config) -> dict[str, object]:
    """Return gunicorn's settings for a configuration. Pure but for the number of cores."""
    listen = config.listen
    return {
        "bind": [listen],
        "workers": config.workers or os.cpu_count() or 1,
        "threads": config.threads,
        "worker_class": "distserver.server.worker.Worker",
        "logger_class": "distserver.server.log.RequestLog",
        "preload_app": True,
        "accesslog": "-",
        "access_log_format": config.log_format,
        # A worker without a heartbeat for so long is replaced; busy ones have one (see pulse).
        "timeout": 60,
        # On a disk that hangs, heartbeats would hang as well.
        "worker_tmp_dir": metrics.RAM if os.access(metrics.RAM, os.W_OK) else None,
        "graceful_timeout": config.graceful_timeout_seconds,
        "keepalive": 75,
        "worker_connections": 1000,
        "backlog": 2048,
        # 10 tags of 128 characters in one query make a long line.
        "limit_request_line": 8190,
        "limit_request_fields": 100,
        "sendfile": True,
        "certfile": config.tls_cert or None,
        "keyfile": config.tls_key or None,
        "control_socket_disable": True,
        "on_exit": lambda _: metrics.end(),
    }


if "gunicorn" in os.environ.get("SERVER_SOFTWARE", ""):  # read by `gunicorn -c python:...`
    globals().update(settings(load(environ=os.environ).config))
