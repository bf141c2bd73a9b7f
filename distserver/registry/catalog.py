"""The catalogue: which repositories there are, by the hint that each first push leaves."""

from __future__ import annotations

from collections.abc import Iterator

from backends import Backend, exists
from distserver.registry import layout


class Catalog:
    """What `_catalog` asks, and whether a name is known."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend

    def names(self) -> list[str]:
        """Return all repositories' names, sorted. Raises: Unavailable. Blocks on: one listing."""
        keys = self._backend.keys(layout.CATALOG)
        # What others left there is no repository.
        return sorted(layout.repository_of(key) for key in keys if key.endswith("/_name"))

    def with_content(self) -> Iterator[str]:
        """Yield each name that has anything stored, also one that no manifest was pushed to yet.

        Raises: Unavailable. Blocks on: a look-up a repository.
        """
        return upload_repositories(self._backend)

    def knows(self, name: str) -> bool:
        """Whether a manifest was ever pushed to this repository. Raises: Unavailable."""
        return exists(self._backend, layout.catalog(name))


def upload_repositories(backend: Backend) -> Iterator[str]:
    """Yield each name that has anything stored, also those that only have unfinished uploads.

    Jumps from one repository to the next, so the cost is a look-up a repository, not a key.
    Raises: Unavailable.
    """
    after = layout.REPOSITORIES
    while key := next(backend.keys(layout.REPOSITORIES, after), None):
        after = key
        if "/_" in key:  # else a file that is not ours
            name = layout.repository_of(key)
            yield name
            # "`" is the character behind "_": everything of this repository lies before it.
            after = f"{layout.REPOSITORIES}{name}/`"
