"""Writes the files of a plan, keeps what was there before, and takes all of it back.

What was written is recorded in one file of the node, with its SHA-256: so a change by hand is seen,
and neither written over nor undone unless that is forced. Order of a write: backup, record, file.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import PurePosixPath

from distserver.nodes.node import Node, NodeError, sync_directory
from distserver.nodes.plan import File

RECORD = "/etc/distserver/node-config.json"
BACKUP = ".distserver-backup"


@dataclass(frozen=True, slots=True)
class Written:
    """A file that we wrote.

    family  of the runtime that it was written for
    sha256  of what we wrote
    backup  whether it replaced one that is kept beside it
    made    directories that were made for it, the innermost last
    """

    family: str
    sha256: str
    backup: bool
    made: tuple[str, ...]


class NodeFiles:
    """The files of a node that we wrote, and those that we are about to write.

    force  also over files of others and changes made by hand
    """

    def __init__(self, node: Node, force: bool = False) -> None:
        self._node, self._force = node, force
        self._record = _read_record(node)

    def state(self, path: str) -> str:
        """Say in a few words whose a file is."""
        if path not in self._record:
            return "not ours"
        return "ours, changed by hand since" if self._is_touched(path) else "ours"

    def authority(self, family: str) -> bytes:
        """Return the certificates that were written for a family, PEM."""
        paths = [path for path in self._paths(family) if path.endswith("ca.crt")]
        return b"".join(self._node.read(path) or b"" for path in paths[:1])

    def write(self, family: str, files: Sequence[File]) -> list[str]:
        """Write what is not there yet; return a line for each file.

        All files are looked at before the first is written. Raises: NodeError, OSError.
        """
        for file in files:
            self._require_free(file)
        written = [self._write(family, file) for file in files]
        return written + self._undo_stale(family, {file.path for file in files})

    def undo(self, family: str) -> list[str]:
        """Put back what was there before, or nothing; return a line for each file.

        Raises: NodeError (one was changed by hand; nothing was undone), OSError.
        """
        paths = self._paths(family)
        changed = [path for path in paths if self._is_touched(path)]
        if changed and not self._force:
            raise NodeError(
                f"changed by hand since it was written: {', '.join(changed)}. Nothing was undone; "
                "--force undoes all the same."
            )
        return [self._undo(path) for path in reversed(paths)]

    def _paths(self, family: str) -> list[str]:
        return [path for path, written in self._record.items() if written.family == family]

    def _undo_stale(self, family: str, wanted: Collection[str]) -> list[str]:
        """Take back what an earlier wish needed and this one does not."""
        stale = [path for path in self._paths(family) if path not in wanted]
        touched = [path for path in stale if self._is_touched(path)]
        undone = [self._undo(path) for path in reversed(stale) if path not in touched]
        return undone + [f"left {path} (changed by hand; not needed any more)" for path in touched]

    def _require_free(self, file: File) -> None:
        if self._node.path(file.path).is_symlink():
            raise NodeError(f"{file.path} is a link: change the file that it leads to")
        current = self._node.read(file.path)
        if self._force or current in (None, file.data):
            return
        if file.path in self._record:
            if self._is_touched(file.path):
                raise NodeError(f"{file.path} was changed by hand; --force writes over it")
        elif file.precious:
            raise NodeError(f"{file.path} is there already; {file.precious}")
        elif self._node.read(file.path + BACKUP) not in (None, current):
            raise NodeError(
                f"{file.path}{BACKUP} is there from an earlier time: move it away first"
            )

    def _write(self, family: str, file: File) -> str:
        current = self._node.read(file.path)
        if current == file.data and file.path in self._record:
            return f"unchanged {file.path}"
        before = self._record.get(file.path)
        made = (*(before.made if before else ()), *self._make_parents(file.path))
        backup = before.backup if before else current is not None
        if backup and before is None:
            self._keep(file.path)
        self._remember(file.path, Written(family, _sha256(file.data), backup, made))
        self._node.replace(file.path, file.data)
        return f"written {file.path}" + (f" (before: {file.path}{BACKUP})" if backup else "")

    def _undo(self, path: str) -> str:
        written, target = self._record[path], self._node.path(path)
        kept = self._node.path(path + BACKUP)
        if not written.backup:
            target.unlink(missing_ok=True)
            said = f"removed {path}"
        elif kept.exists():
            self._node.rename(kept, target)
            said = f"as before {path}"
        else:  # an undo that was cut off, or somebody's doing: what is there may be the only copy
            said = f"left {path} (its backup is not there any more)"
        self._remove_empty(written.made)
        self._forget(path)
        return said

    def _is_touched(self, path: str) -> bool:
        """Whether a file is neither what we wrote nor what was there before."""
        current, written = self._node.read(path), self._record[path]
        before = self._node.read(path + BACKUP) if written.backup else None
        return current != before and (current is None or _sha256(current) != written.sha256)

    def _keep(self, path: str) -> None:
        """Give what is there a second name, which stays when the file is replaced."""
        backup = self._node.path(path + BACKUP)
        if not backup.exists():
            os.link(self._node.path(path), backup)
            sync_directory(backup.parent)

    def _make_parents(self, path: str) -> list[str]:
        parents = [str(parent) for parent in reversed(PurePosixPath(path).parents)]
        missing = [parent for parent in parents if not self._node.exists(parent)]
        for parent in missing:
            directory = self._node.path(parent)
            directory.mkdir()
            directory.chmod(0o755)  # whatever the umask: users without root read some of these
            sync_directory(directory.parent)
        return missing

    def _remove_empty(self, made: Sequence[str]) -> None:
        for directory in reversed(made):
            path = self._node.path(directory)
            if path.is_dir() and not any(path.iterdir()):
                path.rmdir()

    def _remember(self, path: str, written: Written) -> None:
        self._record[path] = written
        self._save()

    def _forget(self, path: str) -> None:
        del self._record[path]
        self._save()

    def _save(self) -> None:
        if not self._record:
            self._node.path(RECORD).unlink(missing_ok=True)
            return
        self._make_parents(RECORD)
        rows = {path: asdict(written) for path, written in self._record.items()}
        self._node.replace(RECORD, json.dumps(rows, indent=1).encode() + b"\n")


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _read_record(node: Node) -> dict[str, Written]:
    data = node.read(RECORD)
    try:
        rows = json.loads(data) if data else {}
        return {path: _written(row) for path, row in rows.items()}
    except (ValueError, TypeError, AttributeError, KeyError) as exc:
        raise NodeError(f"{RECORD} is damaged; remove it, and look for {BACKUP} files") from exc


def _written(row: Mapping[str, object]) -> Written:
    made = row["made"]
    if not isinstance(made, list):
        raise TypeError(made)
    return Written(str(row["family"]), str(row["sha256"]), bool(row["backup"]), tuple(made))
