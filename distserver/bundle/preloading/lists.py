"""Lists of images: plain lists, lock files, and what Kubernetes manifests name.

    # comment                              a plain list: one image a line
    docker.io/library/nginx:1.27
    quay.io/a/b:v1@sha256:… linux/amd64 123456      a line of a lock file brings its platforms
    kind: Pod …                            YAML or JSON: every `image:` that is a text

Files, standard input, and Helm charts (charts). Bounded in bytes; what cannot be read is an error
that names the file.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import yaml

from distserver.bundle.lock import split_line
from distserver.bundle.preloading.charts import ListInvalid, is_chart, render_chart

MAX_BYTES = 64 << 20
"""Of one list; YAML of this size takes a minute to read."""
STDIN = "-"
_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


@dataclass(frozen=True, slots=True)
class Listed:
    """An image as a list names it.

    platforms  that the list asks for, empty = all; None = it does not say
    """

    name: str
    platforms: tuple[str, ...] | None = None


def read_list(source: str) -> list[Listed]:
    """Return the images of a list, each once.

        source  a file, a chart (directory or .tgz), or "-" for standard input
    Raises: ListInvalid, OSError. Blocks on: helm, for a chart.
    """
    if source != STDIN and is_chart(Path(source)):
        return parse_list(_text(render_chart(Path(source), MAX_BYTES), source), source)
    if source == STDIN:
        return parse_list(_read(sys.stdin.buffer, "standard input"), "standard input")
    with Path(source).open("rb") as file:
        return parse_list(_read(file, source), source)


def parse_list(text: str, source: str) -> list[Listed]:
    """Return the images that a text lists, each once. Raises: ListInvalid."""
    lines = [line for line in map(_without_comment, text.splitlines()) if line]
    plain = [_line(line) for line in lines]
    found = [listed for listed in plain if listed]
    if len(found) < len(plain):
        odd = lines[plain.index(None)]
        found = [Listed(name) for name in _in_yaml(text, source, odd)]
    return list(dict.fromkeys(found))


def _without_comment(line: str) -> str:
    line = line.strip().removeprefix("\ufeff")
    return "" if line.startswith("#") else line.partition(" #")[0].strip()


def _line(line: str) -> Listed | None:
    """Read a line of a plain list or a lock file; None if it is none."""
    if locked := split_line(line):
        return Listed(locked[0], locked[1])
    return None if line.split() != [line] or line in ("---", "{", "[") else Listed(line)


def _in_yaml(text: str, source: str, odd: str) -> Iterator[str]:
    """Yield the images of YAML or JSON documents.

    odd  the line that no list of images has
    """
    for document in _documents(text, source):
        if not isinstance(document, dict | list | None):
            raise ListInvalid(f"{source}: neither an image a line nor YAML: {odd[:80]!r}")
        yield from _images(document)


def _documents(text: str, source: str) -> list[Any]:
    try:
        return list(yaml.load_all(text, _Loader))  # noqa: S506  # it is a safe loader
    except (yaml.YAMLError, RecursionError, ValueError) as exc:  # ValueError: a date of no calendar
        hint = "; of a chart, name the directory or the .tgz" if "{{" in text else ""
        why = " ".join(str(exc).split())[:300]
        raise ListInvalid(f"{source}: {why}{hint}") from exc


def _images(document: Any) -> Iterator[str]:
    """Yield every text under a key `image`, wherever it is; what is shared is looked at once."""
    waiting, seen = [document], {id(document)}
    while waiting:
        value = waiting.pop()
        if isinstance(value, dict) and isinstance(image := value.get("image"), str) and image:
            yield image.strip()
        for item in _items(value):
            if isinstance(item, dict | list) and id(item) not in seen:
                seen.add(id(item))
                waiting.append(item)


def _items(value: Any) -> Iterable[Any]:
    return reversed(list(value.values()) if isinstance(value, dict) else value or ())


def _read(stream: BinaryIO, source: str) -> str:
    return _text(stream.read(MAX_BYTES + 1), source)


def _text(data: bytes, source: str) -> str:
    if len(data) > MAX_BYTES:
        raise ListInvalid(f"{source}: larger than {MAX_BYTES >> 20} MiB")
    try:
        return data.decode()
    except UnicodeDecodeError as exc:
        raise ListInvalid(f"{source}: this is no text") from exc
