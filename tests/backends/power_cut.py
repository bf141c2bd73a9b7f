"""A disk that keeps only what was synced: the worst that POSIX allows at a loss of power.

Follows the kernel calls of backends. A name survives once its directory was fsynced after it came,
bytes once their file was; nothing is ordered among each other, as a journal would. Only a rename is
one step, as on all file systems that we know: what is gone from one directory is in the other.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from tests.backends.fake_os import FakeOs


@dataclass(eq=False)
class Node:
    """A file or directory: what the kernel shows, and what the disk holds.

    names, data   as running processes see it
    kept_…        as it is found after the power came back
    """

    names: dict[str, Node] = field(default_factory=dict)
    kept_names: dict[str, Node] = field(default_factory=dict)
    data: bytes = b""
    kept_data: bytes = b""


class PowerCut(FakeOs):
    """Gives every call through, and keeps account of what would survive."""

    def __init__(self, root: str) -> None:
        super().__init__(root, sync=False)
        self.disk = Node()
        self._renames: list[tuple[Node, str, Node]] = []
        self._follow: dict[str, Callable[..., None]] = {
            "open": self._opened,
            "write": self._wrote,
            "fsync": self._synced,
            "replace": self._replaced,
            "link": self._linked,
            "unlink": self._removed,
            "rmdir": self._removed,
            "mkdir": self._made,
        }

    def survives(self, key: str) -> bytes | None:
        """Return the bytes of a key after a loss of power now, or None if it is absent."""
        node = self.disk
        for name in key.split("/"):
            if name not in node.kept_names:
                return None
            node = node.kept_names[name]
        return node.kept_data

    def outside(self, name: str, data: bytes) -> str:
        """Make a file beside the root that nobody synced; return its path."""
        path = os.path.join(os.path.dirname(self.root), name)
        with open(path, "wb") as file:
            file.write(data)
        self._node("..", make=True).names[name] = Node(data=data)
        return path

    def _do(self, name: str, real: Callable[..., Any], *args: Any, **options: Any) -> Any:
        places = [self._told(arg) for arg in args[:2] if isinstance(arg, (int, str))]
        result = super()._do(name, real, *args, **options)
        if name in self._follow:
            self._follow[name](
                *(os.path.relpath(p, self.root) if p[:1] == "/" else p for p in places), args
            )
        return result

    def _node(self, path: str, make: bool = False) -> Node:
        node = self.disk
        for name in path.split("/") if path not in ("", ".") else []:
            node = node.names.setdefault(name, Node()) if make else node.names[name]
        return node

    def _parent(self, path: str) -> tuple[Node, str]:
        directory, _, name = path.rpartition("/")
        return self._node(directory), name

    def _opened(self, path: str, _: str, args: tuple[Any, ...]) -> None:
        if args[1] & os.O_CREAT:
            parent, name = self._parent(path)
            parent.names[name] = Node()

    def _wrote(self, path: str, args: tuple[Any, ...]) -> None:
        self._node(path).data += bytes(args[1])

    def _synced(self, path: str, args: tuple[Any, ...]) -> None:
        node = self._node(path)
        node.kept_names, node.kept_data = dict(node.names), node.data
        for _, target, file in [one for one in self._renames if one[0] is node]:
            self._keep_name(target, file)
        self._renames = [one for one in self._renames if one[0] is not node]

    def _keep_name(self, path: str, file: Node) -> None:
        """Let a file survive under a path, if that is still its own."""
        steps = [self.disk]
        for name in path.split("/"):
            if name not in steps[-1].names:
                return
            steps.append(steps[-1].names[name])
        if steps[-1] is file:
            for above, name, node in zip(steps, path.split("/"), steps[1:], strict=False):
                above.kept_names[name] = node

    def _replaced(self, source: str, target: str, args: tuple[Any, ...]) -> None:
        old, old_name = self._parent(source)
        new, new_name = self._parent(target)
        if new.names.get(new_name) is not old.names[old_name]:
            new.names[new_name] = file = old.names.pop(old_name)
            self._renames.append((old, target, file))

    def _linked(self, source: str, target: str, args: tuple[Any, ...]) -> None:
        parent, name = self._parent(target)
        parent.names[name] = self._node(source)

    def _removed(self, path: str, args: tuple[Any, ...]) -> None:
        parent, name = self._parent(path)
        del parent.names[name]

    def _made(self, path: str, *_: object) -> None:
        parent, name = self._parent(path)
        parent.names[name] = Node()
