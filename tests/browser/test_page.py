"""The page for people, in a real browser."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.components.browser import dom, screenshot
from tests.figures import record
from tests.live import Server
from tests.protocol.upstream import table, upstream
from tests.proxy.scripted import scripted

pytestmark = pytest.mark.client


def test_the_page_in_chromium(tmp_path: Path, start: Callable[..., Server]) -> None:
    """It shows what the server knows, and breaks none of its own content policy."""
    with scripted(upstream) as up:
        server = start(None, "--workers", "2", "--config", table(tmp_path, up.url))
        server.request("GET", "/v2/team/app/manifests/v1?ns=up.site")
        for _ in range(3):
            server.request("GET", "/v2/a/manifests/v1?ns=down.site")
        page, console = dom(tmp_path / "home", server.url)
        picture = screenshot(tmp_path / "home", server.url, tmp_path / "page.png")
    assert console == ""
    texts = re.sub(r"<[^>]+>", " ", page)
    for told in ("online", "up.site", "answers", "down.site", "does not answer", "team/app:v1"):
        assert told in texts
    assert re.search(r'id="mode">online<', page)
    assert picture.startswith(b"\x89PNG")
    assert len(picture) > 20_000
    record("Page", "`/` in headless Chromium", "all facts shown, no console error", "as wanted")


def test_names_from_outside_are_text_and_never_markup(
    tmp_path: Path, start: Callable[..., Server]
) -> None:
    """An upstream's error, or a tag, could carry markup: none of it is run or drawn."""
    server = start()
    state = server.directory / "state" / "recent"
    state.write_text('[1, "<img src=x onerror=alert(1)>", "<script>document.title=1</script>"]\n')
    page, console = dom(tmp_path / "home", server.url)
    assert "<title>distserver: online</title>" in page
    assert "&lt;script&gt;" in page
    assert "<img" not in page
    assert console == ""
