"""Where a storage lies in an object store: bucket, prefix, endpoint, names of objects. No I/O."""

from __future__ import annotations

import re
from dataclasses import dataclass, fields, replace
from urllib.parse import parse_qsl, urlsplit

from backends.errors import InvalidKey
from backends.keys import validate_key, validate_prefix

_BUCKET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{1,61}[A-Za-z0-9]")
_MAX_NAME_BYTES = 1024
MAX_PREFIX_BYTES = 200
"""What is left of S3's 1024 is more than the longest key that a registry makes."""

OWN = "."
"""Names that begin so are ours and no keys: a component of a key never begins with a dot."""
DATA = ".data/"
EXAMINED = "examined-"
"""What names of ours begin with, behind OWN, while a server is examined."""
_BEHIND_OWN = ".z"
_BOOLEANS = {"true": True, "1": True, "false": False, "0": False}


@dataclass(frozen=True, slots=True)
class S3Options:
    """How an object store is asked; credentials come by AWS's usual variables, files and roles.

    endpoint           URL of the server; "" = AWS
    region             "" = as AWS's variables and files say
    ca_file            PEM file of the authorities to trust; "" = AWS_CA_BUNDLE, else the system's
    path_style         http://host/bucket/key; None = if there is an endpoint
    redirect_endpoint  URL under which clients reach the server; "" = they never do
    connections        that are kept open for reuse
    """

    endpoint: str = ""
    region: str = ""
    ca_file: str = ""
    path_style: bool | None = None
    redirect_endpoint: str = ""
    connections: int = 64


@dataclass(frozen=True, slots=True)
class Place:
    """A bucket and a prefix in it, "" or with a "/" at its end; others may use the rest."""

    bucket: str
    prefix: str
    options: S3Options

    def __str__(self) -> str:
        at = self.options.endpoint or "AWS"
        return f"bucket {self.bucket} at {at}"

    def entry(self, key: str) -> str:
        """Name of the object of an entry. Raises: InvalidKey (also: too long with our prefix)."""
        name = self.prefix + validate_key(key)
        if len(name) > _MAX_NAME_BYTES:
            raise InvalidKey(f"with the prefix {self.prefix} too long for S3: {key[:200]!r}")
        return name

    def entries(self, prefix: str) -> str:
        """What the names of all entries with a prefix begin with. Raises: InvalidKey."""
        return self.prefix + validate_prefix(prefix)

    def data(self, data_id: str = "") -> str:
        """Name of a data object; without an id what the names of all of them begin with."""
        return f"{self.prefix}{DATA}{data_id[:2]}/{data_id}" if data_id else self.prefix + DATA

    def own(self, name: str) -> str:
        """Name of another object of ours that is no entry."""
        return f"{self.prefix}{OWN}{name}"

    def is_own(self, name: str) -> bool:
        """Whether an object is ours, but no entry."""
        return name.startswith(self.prefix + OWN)

    @property
    def behind_own(self) -> str:
        """A name behind all of ours that are no entries, and before all entries behind those."""
        return self.prefix + _BEHIND_OWN


def parse_place(url: str, options: S3Options) -> Place:
    """Read s3://BUCKET[/PREFIX][?endpoint=…&region=…], whose parameters win over the options.

    Raises: ValueError in words for the operator.
    """
    parts = urlsplit(url)
    if parts.scheme != "s3" or not _BUCKET.fullmatch(parts.netloc) or parts.fragment:
        raise ValueError(f"storage {url!r}: give s3://BUCKET or s3://BUCKET/PREFIX")
    prefix = parts.path.strip("/")
    try:
        validate_prefix(f"{prefix}/" if prefix else "")
    except InvalidKey as exc:
        raise ValueError(f"storage {url!r}: the prefix has a sign that no key may have") from exc
    if len(prefix) > MAX_PREFIX_BYTES:
        raise ValueError(f"storage {url!r}: the prefix is longer than {MAX_PREFIX_BYTES} signs")
    chosen = _with_parameters(url, options, parts.query)
    for endpoint in (chosen.endpoint, chosen.redirect_endpoint):
        if endpoint and not _is_endpoint(endpoint):
            raise ValueError(f"storage {url!r}: {endpoint!r} is not http://HOST or https://HOST")
    return Place(parts.netloc, f"{prefix}/" if prefix else "", chosen)


def _with_parameters(url: str, options: S3Options, query: str) -> S3Options:
    known = {field.name for field in fields(S3Options)} - {"connections"}
    given: dict[str, str | bool] = dict(parse_qsl(query, keep_blank_values=True))
    if unknown := set(given) - known:
        raise ValueError(
            f"storage {url!r}: unknown {min(unknown)}; known are {', '.join(sorted(known))}"
        )
    style = str(given.get("path_style", "true"))
    if style not in _BOOLEANS:
        raise ValueError(f"storage {url!r}: path_style is true or false")
    if "path_style" in given:
        given["path_style"] = _BOOLEANS[style]
    return replace(options, **given)  # type: ignore[arg-type]


def _is_endpoint(url: str) -> bool:
    parts = urlsplit(url)
    plain = parts.username is None and not parts.query and not parts.fragment
    return parts.scheme in ("http", "https") and bool(parts.hostname) and plain
