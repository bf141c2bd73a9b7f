"""Tables of upstreams: what they change, and which are refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from distserver.config import ConfigError, load
from distserver.proxy.connect import upstreams_of


def _load(tmp_path: Path, text: str) -> object:
    file = tmp_path / "c.toml"
    file.write_text(text)
    return load(str(file)).config.upstream


def test_a_table_adds_or_changes_an_upstream(tmp_path: Path) -> None:
    tables = _load(
        tmp_path,
        """
        [upstream."Reg.Site:5000"]
        allow = ["team/*"]
        [upstream."docker.io"]
        url = ["https://mirror.site", "https://registry-1.docker.io"]
        [upstream."quay.io"]
        deny = ["x/*"]
        """,
    )
    upstreams = upstreams_of(tables)  # type: ignore[arg-type]
    private, hub, quay = map(upstreams.find, ("reg.site:5000", "docker.io", "quay.io"))
    assert private
    assert (private.urls, private.allow) == (("https://reg.site:5000",), ("team/*",))
    assert hub
    assert hub.urls == ("https://mirror.site", "https://registry-1.docker.io")
    assert quay
    assert (quay.urls, quay.deny) == (("https://quay.io",), ("x/*",))


@pytest.mark.parametrize(
    ("table", "named"),
    [
        ('url = ["http://x"]', "insecure"),
        ('url = ["ftp://x"]', "https://"),
        ('username = "a"\npassword_file = "/p"', "allow"),
        ('username = "a"\nallow = ["*"]', "password_file"),
        ('client_cert = "/c"\nallow = ["*"]', "client_key"),
        ('docker_config = "/c"', "allow"),
        ('password = "x"', "password"),
        ("insecure = 1", "insecure"),
    ],
)
def test_tables_that_are_refused(tmp_path: Path, table: str, named: str) -> None:
    with pytest.raises(ConfigError, match=named) as caught:
        _load(tmp_path, f'[upstream."x.site"]\n{table}\n')
    assert "x.site" in str(caught.value)


@pytest.mark.parametrize("text", ["upstream = 1", 'upstream = ["x"]', "[upstream]\nx = 1"])
def test_what_is_no_table(tmp_path: Path, text: str) -> None:
    with pytest.raises(ConfigError, match="tables"):
        _load(tmp_path, text)
