"""The code base stays small: limits on files and functions, and no I/O in the pure layer."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
FILES = sorted(path for top in ("distserver", "backends") for path in (ROOT / top).rglob("*.py"))
MAX_FILE, MAX_FUNCTION = 300, 60
IMPURE = {"os", "io", "pathlib", "socket", "time", "random", "threading", "subprocess", "requests"}


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_files_and_functions_are_short(path: Path) -> None:
    text = path.read_text()
    assert len(text.splitlines()) <= MAX_FILE
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef):
            assert (node.end_lineno or 0) - node.lineno < MAX_FUNCTION, node.name


@pytest.mark.parametrize(
    "path", sorted((ROOT / "distserver/oci").glob("*.py")), ids=lambda p: p.name
)
def test_oci_is_pure(path: Path) -> None:
    imported = {
        (alias.name if isinstance(node, ast.Import) else node.module or "").partition(".")[0]
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Import | ast.ImportFrom)
        for alias in node.names
    }
    assert imported.isdisjoint(IMPURE)
