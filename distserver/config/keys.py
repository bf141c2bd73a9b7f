"""Every key of the configuration: its default, its unit and what it means."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

DEFAULT_STORAGE = "/var/lib/distserver/storage"


class ConfigError(ValueError):
    """A key is unknown or its value is not usable; the text names it."""


def key(default: Any, text: str) -> Any:
    """A key of the configuration: its default and what it means."""
    return field(default=default, metadata={"text": text})


@dataclass(frozen=True, slots=True)
class UpstreamConfig:
    """A table `[upstream."HOST"]`: adds an upstream, or changes a built-in one."""

    url: tuple[str, ...] = key((), "base URLs, tried in order; empty = https://HOST")
    hosts: tuple[str, ...] = key(
        (), "host[:port] of ours under which every name means this upstream: docker's mirrors"
    )
    allow: tuple[str, ...] = key((), "patterns of repositories that may be fetched; empty = all")
    deny: tuple[str, ...] = key((), "patterns of repositories that may not be fetched")
    username: str = key("", "user at the upstream; needs password_file, and allow")
    password_file: str = key("", "file whose first line is the password")
    docker_config: str = key("", "Docker's config.json with credentials, or helpers that have them")
    ecr_region: str = key(
        "", "AWS region whose ECR gives the password, by the usual AWS credentials"
    )
    realm_hosts: tuple[str, ...] = key((), "further hosts whose token servers may see credentials")
    ca_file: str = key("", "PEM file of the authorities to trust; empty = the system's")
    client_cert: str = key("", "PEM file of a client certificate")
    client_key: str = key("", "PEM file of its key")
    insecure: bool = key(False, "allow plain http and unverified TLS")
    tag_ttl_seconds: int | None = key(None, "as the general key; unset = what that one says")
    tag_ttls: Mapping[str, int] = field(
        default_factory=dict,
        metadata={
            "text": "the same by pattern of TAG or REPOSITORY:TAG, the first that fits holds: "
            '{ "latest" = 60, "app/*:v*" = -1 }'
        },
    )
    honour_deletes: bool = key(False, "a tag that is gone upstream goes here too")
    signatures: bool = key(True, "referrers and cosign's tags of a pulled image come with it")
    max_fetches: int = key(8, "blobs fetched at once by a node")
    max_bytes_per_second: int = key(0, "bytes a second that a node takes; 0 = no limit")

    @property
    def has_credentials(self) -> bool:
        """Whether requests may carry somebody's rights."""
        given = (self.username, self.docker_config, self.ecr_region, self.client_cert)
        return any(given)


@dataclass(frozen=True, slots=True)
class Config:
    """All that can be set. Units are in the names."""

    listen: str = key("127.0.0.1:5000", "address and port to serve on; port 0 = any free one")
    storage: tuple[str, ...] = key(
        (DEFAULT_STORAGE,), "where content is kept: a path or a URL; several are a replica set"
    )
    degraded_ack: int = key(
        0, "1 = of two replicas, one is enough to acknowledge a push; 0 = a majority"
    )
    state: str = key(
        "/var/lib/distserver/state", "directory of this node's own state; safe to delete"
    )
    storage_id: str = key(
        "", "id that the storage must carry; empty = the one met first, kept in state"
    )
    names: tuple[str, ...] = key((), "host[:port] under which clients know this server")
    users_file: str = key(
        "", "lines name:bcrypt[:rights], rights of pull,push,delete (default pull,push)"
    )
    allow_anonymous_push: bool = key(False, "let anyone push and delete, also beyond loopback")
    deletes_enabled: bool = key(True, "whether tags, manifests and blobs may be deleted at all")
    tls_cert: str = key("", "PEM file of the certificate chain; empty = plain HTTP")
    tls_key: str = key("", "PEM file of the certificate's key")
    workers: int = key(0, "processes; 0 = one for each core")
    threads: int = key(96, "requests that a worker serves at once")
    reserve_bytes: int = key(
        -1, "free space that pushes leave alone; -1 = the larger of 1 GiB and 2 %"
    )
    s3_endpoint: str = key("", "URL of an object store, for storages s3://…; empty = AWS")
    s3_region: str = key("", "its region; empty = as the usual AWS variables and files say")
    s3_ca_file: str = key(
        "", "PEM file of the authorities to trust there; empty = AWS_CA_BUNDLE, else the system's"
    )
    s3_path_style: bool | None = key(
        None, "the bucket in the path, not in the host; unset = if there is an s3_endpoint"
    )
    s3_redirect_endpoint: str = key(
        "",
        "URL under which clients reach the object store: pulls of blobs from 1 MiB on are sent"
        " there by signed links, unverified; empty = all goes through us",
    )
    manifest_cache_bytes: int = key(64 << 20, "memory for manifests, bytes a worker")
    gc_interval_seconds: int = key(
        86400, "from one garbage collection to the next; 0 = only by `distserver gc`"
    )
    gc_grace_seconds: int = key(
        86400, "content that was pushed or asked for within this is never garbage"
    )
    gc_hold_seconds: int = key(7 * 86400, "garbage stays in the trash for so long")
    gc_settle_seconds: int = key(
        -1, "how long listings may lag behind; -1 = 120 on a network mount, else 0"
    )
    untagged_seconds: int = key(
        0, "pushed manifests that no tag keeps are deleted after this, 7200 at least; 0 = never"
    )
    upload_expiry_seconds: int = key(86400, "an upload without progress is given up after this")
    stall_timeout_seconds: int = key(60, "a connection that neither takes nor gives a byte is cut")
    graceful_timeout_seconds: int = key(3600, "how long a stopping worker lets transfers finish")
    log_format: str = key("plain", "plain or json: one line a request on standard error")
    mode: str = key("online", "online, prefer-cache (held tags are not revalidated) or offline")
    tag_ttl_seconds: int = key(
        300, "a pulled tag is not asked for again within this; 0 = always ask, -1 = never again"
    )
    platforms: tuple[str, ...] = key(
        (), "such as linux/arm64: of an index these come too; empty = those that are asked for"
    )
    partial_bytes: int = key(
        32 << 30, "that blobs on their way may take in state; what is more is not kept"
    )
    cache_bytes: int = key(
        0,
        "that content pulled from upstreams may take in the storage; above it the images that were "
        "not pulled for longest go; 0 = no cap",
    )
    cache_free_bytes: int = key(
        -1,
        "free space of the storage below which such images go, too; 0 = none go for that; "
        "-1 = twice the reserve",
    )
    in_use_file: str = key(
        "", "file with the images that run here, one a line: they are never evicted"
    )
    in_use_pods: bool = key(
        True, "in a cluster, the images of its pods are never evicted: asks the Kubernetes API"
    )
    hot_bytes: int = key(
        10 << 30,
        "that copies of what was pulled may take in state, where the storage is not on a local "
        "disk; 0 = none",
    )
    outage_seconds: int = key(
        -1,
        "while the storage is away, what it said of names within this time still serves pulls of "
        "such copies; 0 = never; -1 = 3600, but 0 with a replica set, which promises fresh tags",
    )
    scrub_days: int = key(
        30,
        "every stored byte is read again within so many days, and mended if it is bad; 0 = never",
    )
    scrub_bytes_per_second: int = key(
        0, "how fast; 0 = as slowly as will do, by what the last pass read, 4 MiB at least"
    )
    upstream: Mapping[str, UpstreamConfig] = field(
        default_factory=dict, metadata={"text": "tables of upstreams, by host; only in the file"}
    )
