"""What a Helm chart would install, as `helm template` renders it with the chart's own values."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from pathlib import Path

HELM_SECONDS = 120.0
MAX_ERROR_BYTES = 4096


class ListInvalid(ValueError):
    """A list of images, or a chart, cannot be read; the text names it and says why."""


def is_chart(path: Path) -> bool:
    """Whether this is a chart: a packed one, or a directory."""
    return path.name.endswith((".tgz", ".tar.gz")) or path.is_dir()


def render_chart(path: Path, most_bytes: int) -> bytes:
    """Return the manifests of a chart; one byte more than most_bytes stands for too many.

    Raises: ListInvalid. Blocks on: helm, HELM_SECONDS at most.
    """
    helm = shutil.which("helm")
    if helm is None:
        raise ListInvalid(
            f"{path}: helm is not on the path; where it is, run"
            f" `helm template {path} > manifests.yaml` and give that file"
        )
    with tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as errors:
        command = [helm, "template", "preload", str(path.absolute())]
        try:
            done = subprocess.run(  # noqa: S603
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=errors,
                timeout=HELM_SECONDS,
                check=False,
            )
        except subprocess.TimeoutExpired as exc:
            raise ListInvalid(f"{path}: helm is not done in {HELM_SECONDS:.0f} s") from exc
        if done.returncode:
            errors.seek(0)
            said = errors.read(MAX_ERROR_BYTES).decode(errors="replace")
            raise ListInvalid(f"{path}: helm says: {' '.join(said.split())}")
        output.seek(0)
        return output.read(most_bytes + 1)
