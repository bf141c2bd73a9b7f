"""Runs gunicorn in this process with a configuration."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from gunicorn.app.base import BaseApplication

from distserver.config import Config, ConfigError, Loaded
from distserver.server.master import Master, given_address
from distserver.server.settings import settings

log = logging.getLogger(__name__)


class Application(BaseApplication):  # type: ignore[misc]  # gunicorn has no types
    """gunicorn with settings from a configuration instead of a command line."""

    def __init__(self, loaded: Loaded, make: Callable[[Config], Any]) -> None:
        self._loaded = loaded
        self._make = make
        self._address = given_address(os.environ)
        super().__init__()

    @property
    def _config(self) -> Config:
        """The configuration; a socket that systemd opened stands for `listen`, in rights too."""
        config = self._loaded.config
        return replace(config, listen=self._address) if self._address else config

    def load_config(self) -> None:
        """Take our settings; gunicorn refuses one that it does not know."""
        for name, value in settings(self._config).items():
            if name in self.cfg.settings:
                self.cfg.set(name, value)

    def load(self) -> Any:
        """Make the application; gunicorn calls it before it forks."""
        return self._make(self._config)

    def run(self) -> None:
        """Serve, as a service of systemd where it is one."""
        Master(self).run()

    def reload(self) -> None:
        """Read the configuration again, on SIGHUP; one that cannot be used changes nothing.

        New workers serve by it, and the old ones finish what they have begun.
        """
        before = self._loaded
        try:
            self._loaded = self._loaded.again()
            self.callable = self.load()
        except ConfigError as exc:
            self._loaded = before
            log.error("the configuration stays as it was: %s", exc)
            return
        log.info("the configuration was read again")
        super().reload()


def run(loaded: Loaded, make: Callable[[Config], Any]) -> None:
    """Serve until a signal ends it.

    make  makes the WSGI application, with extensions["distserver.config"]
    """
    Application(loaded, make).run()
