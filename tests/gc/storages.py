"""Storages that can do less."""

from __future__ import annotations

from backends import Backend


class TwoSteps:
    """A storage without any capability: the six verbs of another."""

    def __init__(self, inner: Backend) -> None:
        self.stat, self.open, self.create = inner.stat, inner.open, inner.create
        self.link, self.delete, self.keys = inner.link, inner.delete, inner.keys
