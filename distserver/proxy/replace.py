"""Gives a small file new bytes: whoever reads it, in any process, sees the old ones or the new."""

from __future__ import annotations

import os
import threading
from pathlib import Path


def replace(path: Path, data: bytes, fsync: bool = False) -> None:
    """Put data in place of what the file had; its directory must be there.

        fsync  whether the bytes are on the disk before they have the name
    Raises: OSError; then the file is as it was.
    """
    new = path.with_name(f"{path.name}.{os.getpid()}.{threading.get_ident()}.new")
    try:
        with new.open("wb") as file:
            file.write(data)
            file.flush()
            if fsync:
                os.fsync(file.fileno())
        new.replace(path)
    except OSError:
        new.unlink(missing_ok=True)
        raise
