"""What is installed is all that is there: setup.cfg names each package."""

from __future__ import annotations

import configparser
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_each_package_is_installed() -> None:
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg")
    found = [
        ".".join(file.parent.relative_to(ROOT).parts)
        for top in ("backends", "distserver")
        for file in (ROOT / top).rglob("__init__.py")
    ]
    assert sorted(config["options"]["packages"].split()) == sorted(found)
