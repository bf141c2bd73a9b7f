"""A node below a directory, and wishes for it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from distserver.nodes.endpoints import parse_endpoint
from distserver.nodes.node import Node
from distserver.nodes.plan import Wish

A, B = "http://10.0.0.5:5000", "http://10.0.0.6:5000"
Put = Callable[[str, str], Path]


def wish(*urls: str, **more: object) -> Wish:
    return Wish(tuple(parse_endpoint(url) for url in urls or (A, B)), **more)  # type: ignore[arg-type]


@pytest.fixture
def node(tmp_path: Path) -> Node:
    (tmp_path / "root").mkdir()
    return Node(tmp_path / "root")


@pytest.fixture
def put(node: Node) -> Put:
    """Write a file of the node: put(path, text)."""

    def write(path: str, text: str) -> Path:
        file = node.root / path.lstrip("/")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        return file

    return write
