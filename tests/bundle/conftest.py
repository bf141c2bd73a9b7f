"""Sites for the tests of archives and bundles."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.bundle.site import Make, Site


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path / "site")


@pytest.fixture
def make(tmp_path: Path) -> Make:
    """Make further sites, by name."""
    return lambda name: Site(tmp_path / name)
