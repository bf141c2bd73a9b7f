"""Documents that agree with the code: links, commands, keys, targets."""

from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path

import pytest

from distserver.cli import main
from distserver.cli.storage import reference
from distserver.config import Config
from distserver.registry import layout

ROOT = Path(__file__).parent.parent.parent
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])
TARGETS = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
KEYS = {field.name for field in fields(Config)} | {"config"}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_what_a_page_names_exists(page: Path) -> None:
    text = page.read_text()
    for link in re.findall(r"\]\(([^)#:]+)\)", text):
        assert (page.parent / link).exists(), link
    examples = "".join(re.findall(r"```\w*\n(.*?)```", text, re.DOTALL))
    for command in re.findall(r"^distserver ([a-z-]+)", examples, re.MULTILINE):
        assert command in main.commands, command
    for target in re.findall(r"`make ([a-z-]+)`|^make ([a-z-]+)", text, re.MULTILINE):
        assert "".join(target) in TARGETS, target
    for variable in re.findall(r"DISTSERVER_([A-Z_]+)", text):
        assert variable.lower() in KEYS, variable


def test_the_page_of_configuration_is_current() -> None:
    assert (ROOT / "docs/configuration.md").read_text() == reference(), "run `make docs`"


def test_the_layout_page_names_every_place() -> None:
    page = (ROOT / "docs/layout.md").read_text()
    for line in (layout.__doc__ or "").splitlines():
        if "<" in line and "/" in line.split()[0]:
            assert line.split()[0].split("<")[0] in page, line


def test_every_decision_is_listed() -> None:
    listed = (ROOT / "docs/adr/README.md").read_text()
    for page in (ROOT / "docs/adr").glob("0*.md"):
        assert page.name in listed
