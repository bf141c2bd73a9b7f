"""Runs gunicorn in this process with a configuration."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from gunicorn.app.base import BaseApplication

from distserver.config import Config
from distserver.server.settings import settings


class Application(BaseApplication):  # type: ignore[misc]  # gunicorn has no types
    """gunicorn with settings from a Config instead of a command line."""

    def __init__(self, config: Config, make: Callable[[], Any]) -> None:
        self._config = config
        self._make = make
        super().__init__()

    def load_config(self) -> None:
        """Take our settings; gunicorn refuses one that it does not know."""
        for name, value in settings(self._config).items():
            if name in self.cfg.settings:
                self.cfg.set(name, value)

    def load(self) -> Any:
        """Make the application; gunicorn calls it once, before it forks."""
        return self._make()


def run(config: Config, make: Callable[[], Any]) -> None:
    """Serve until a signal ends it.

    make  makes the WSGI application, with extensions["distserver.config"]
    """
    Application(config, make).run()
