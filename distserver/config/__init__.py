"""The configuration: one reader (reading) of keys (keys) whose values fit together (rules).

Unknown keys and bad values stop the start with one message that names the key. Secrets are files,
never values.
"""

from distserver.config.keys import DEFAULT_STORAGE, Config, ConfigError, UpstreamConfig
from distserver.config.reading import DEFAULT_FILE, Loaded, load, to_environ
from distserver.config.rules import is_loopback, parse_listen

__all__ = [
    "DEFAULT_FILE",
    "DEFAULT_STORAGE",
    "Config",
    "ConfigError",
    "Loaded",
    "UpstreamConfig",
    "is_loopback",
    "load",
    "parse_listen",
    "to_environ",
]
