"""Tables of upstreams: what they change, and which are refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from distserver.config import Config, ConfigError, load
from distserver.proxy.upstream.connect import upstreams_of
from distserver.proxy.upstream.table import FOREVER


def _load(tmp_path: Path, text: str) -> Config:
    file = tmp_path / "c.toml"
    file.write_text(text)
    return load(str(file)).config


def test_a_table_adds_or_changes_an_upstream(tmp_path: Path) -> None:
    config = _load(
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
    upstreams = upstreams_of(config)
    private, hub, quay = map(upstreams.find, ("reg.site:5000", "docker.io", "quay.io"))
    assert private
    assert (private.urls, private.allow) == (("https://reg.site:5000",), ("team/*",))
    assert hub
    assert hub.urls == ("https://mirror.site", "https://registry-1.docker.io")
    assert quay
    assert (quay.urls, quay.deny) == (("https://quay.io",), ("x/*",))


def test_times_of_tags(tmp_path: Path) -> None:
    """By pattern, by upstream, in general; what is not in a table is as the general key says."""
    config = _load(
        tmp_path,
        """
        tag_ttl_seconds = 7
        [upstream."quay.io"]
        tag_ttl_seconds = 0
        tag_ttls = { "latest" = 60, "app/*:v*" = -1 }
        [upstream."*.pkg.dev"]
        tag_ttl_seconds = 9
        """,
    )
    upstreams = upstreams_of(config)
    quay, hub, member = map(upstreams.find, ("quay.io", "docker.io", "eu.pkg.dev"))
    assert quay and hub and member
    assert quay.ttl_of("any", "latest") == 60
    assert quay.ttl_of("app/x", "v1") == FOREVER
    assert quay.ttl_of("other", "v1") == 0
    assert hub.ttl_of("library/x", "latest") == 7
    assert (member.ttl_of("a", "b"), member.urls) == (9, ("https://eu.pkg.dev",))
    assert upstreams.find("*.pkg.dev") is None


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
        ('url = ["https://user@x"]', "without a user"),
        ('url = ["https://"]', "url"),
        ('ecr_region = "eu-west-1"', "allow"),
        ('docker_config = "/c"\necr_region = "x"\nallow = ["*"]', "enough"),
        ("tag_ttl_seconds = -2", "-1"),
        ('tag_ttls = { "latest" = -5 }', "-1"),
        ('tag_ttls = ["latest"]', "table"),
        ('tag_ttls = { "latest" = "soon" }', "table"),
        ("max_fetches = 0", "max_fetches"),
        ("max_bytes_per_second = -1", "max_bytes_per_second"),
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
