"""Real object stores for tests: child processes on free ports, with their data in a directory."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import uuid
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from tests.components.require import require
from tests.live import START_SECONDS, STOP_SECONDS, wait_for

ACCESS_KEY, SECRET_KEY = "tests-access-key", "tests-secret-key"
BUCKET = "registry"
CREDENTIALS = {
    "AWS_ACCESS_KEY_ID": ACCESS_KEY,
    "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
    "AWS_EC2_METADATA_DISABLED": "true",
    "AWS_CONFIG_FILE": os.devnull,
    "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
}
Command = Callable[[Path, int], list[str]]


@dataclass
class ObjectStore:
    """A running server with the bucket BUCKET; each storage of a test has a prefix of its own."""

    name: str
    directory: Path
    port: int
    command: list[str]
    process: subprocess.Popen[bytes]

    @property
    def endpoint(self) -> str:
        """URL of the server."""
        return f"http://127.0.0.1:{self.port}"

    def url(self, endpoint: str = "", prefix: str = "") -> str:
        """URL of a storage that nobody else uses, perhaps by way of a proxy."""
        return f"s3://{BUCKET}/{prefix or uuid.uuid4().hex}?endpoint={endpoint or self.endpoint}"

    def client(self, **options: Any) -> Any:
        """A boto3 client of this server."""
        return _session().client("s3", endpoint_url=self.endpoint, **options)

    def kill(self) -> None:
        """End it as a loss of its machine would; a second call does nothing."""
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(STOP_SECONDS)

    def start(self) -> None:
        """Start it again with its data, on its port."""
        self.process = _spawn(self.directory, self.command)
        wait_for(lambda: _answers(self), START_SECONDS, self.name)


def minio(directory: Path) -> ObjectStore:
    """A MinIO over one directory."""
    return _started("minio", directory, _minio)


def seaweedfs(directory: Path) -> ObjectStore:
    """All parts of a SeaweedFS in one process."""
    return _started("seaweedfs", directory, _seaweedfs)


@cache
def _session() -> Any:
    """One for all clients: each reads the description of S3 again, 0.1 s of CPU."""
    from boto3.session import Session

    return Session(ACCESS_KEY, SECRET_KEY, region_name="us-east-1")


SERVERS = {"minio": minio, "seaweedfs": seaweedfs}
FIRST = "minio"
"""The one that also runs, at reduced counts, what is not the contract."""


def _minio(directory: Path, port: int) -> list[str]:
    data = directory / "data"
    return [require("minio"), "server", "--quiet", "--address", f"127.0.0.1:{port}", str(data)]


def _seaweedfs(directory: Path, port: int) -> list[str]:
    identity = {
        "name": "tests",
        "credentials": [{"accessKey": ACCESS_KEY, "secretKey": SECRET_KEY}],
        "actions": ["Admin"],
    }
    config = directory / "identities.json"
    config.write_text(json.dumps({"identities": [identity]}))
    (directory / "data").mkdir(exist_ok=True)
    parts = ("master.port", "volume.port", "filer.port", "master.port.grpc", "volume.port.grpc")
    names = (*parts, "filer.port.grpc", "s3.port.grpc")
    others = [f"-{name}={number}" for name, number in zip(names, _free(len(names)), strict=True)]
    return [
        *(str(Path(sys.executable).parent / "weed"), "server", f"-dir={directory / 'data'}"),
        *("-ip=127.0.0.1", "-ip.bind=127.0.0.1", "-filer", "-s3", f"-s3.port={port}"),
        *(f"-s3.config={config}", "-volume.max=50", "-master.volumeSizeLimitMB=64"),
        *("-s3.port.iceberg=0", "-s3.port.lance=0", "-master.telemetry=false"),
        *others,
    ]


def _started(name: str, directory: Path, command: Command) -> ObjectStore:
    directory.mkdir(parents=True, exist_ok=True)
    (port,) = _free(1)
    line = command(directory, port)
    store = ObjectStore(name, directory, port, line, _spawn(directory, line))
    try:
        wait_for(lambda: _answers(store), START_SECONDS, name)
    except BaseException:
        store.kill()
        raise
    return store


def _spawn(directory: Path, command: list[str]) -> subprocess.Popen[bytes]:
    env = {**os.environ, "MINIO_ROOT_USER": ACCESS_KEY, "MINIO_ROOT_PASSWORD": SECRET_KEY}
    env |= {"MINIO_BROWSER": "off", "MINIO_UPDATE": "off", "HOME": str(directory)}
    with (directory / "log").open("ab") as log:
        return subprocess.Popen(
            command, stdout=log, stderr=log, env=env, cwd=directory, start_new_session=True
        )


def _answers(store: ObjectStore) -> bool:
    """Whether it takes an object in the bucket, which is made first."""
    from botocore.config import Config
    from botocore.exceptions import BotoCoreError, ClientError

    if store.process.poll() is not None:
        raise RuntimeError((store.directory / "log").read_text(errors="replace"))
    quick = Config(retries={"total_max_attempts": 1}, connect_timeout=1, read_timeout=5)
    client = store.client(config=quick)
    try:
        if BUCKET not in [one["Name"] for one in client.list_buckets()["Buckets"]]:
            client.create_bucket(Bucket=BUCKET)
        client.put_object(Bucket=BUCKET, Key="started", Body=b"x")
    except (BotoCoreError, ClientError):
        return False
    finally:
        client.close()
    return True


def _free(count: int) -> list[int]:
    """Ports that the kernel chose just now."""
    with ExitStack() as stack:
        sockets = [
            stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)
        ]
        return [sock.getsockname()[1] for sock in sockets]
