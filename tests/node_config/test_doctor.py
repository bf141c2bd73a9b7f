"""Each check of the doctor, on a node that is a directory: what is well, and what is not."""

from __future__ import annotations

import io
import json
import os
import tarfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from backends import store_ids
from distserver import app
from distserver.config import Config, load
from distserver.nodes.certificates import validity_of_pem
from distserver.nodes.doctor import clock, images, pulling, server, storage
from distserver.nodes.doctor.facts import Facts
from distserver.nodes.doctor.findings import OK, STOP, WARN, Finding
from distserver.nodes.doctor.table import OF_A_NODE, OF_A_SERVER, examine
from distserver.nodes.endpoints import Answer, Endpoint, parse_endpoint
from distserver.nodes.node import Node, NodeError
from distserver.oci.digests import Digest
from distserver.oci.names import Tag
from distserver.proxy.upstream.mode import Mode
from distserver.registry import Registry
from tests.node_config.conftest import A, B, Put
from tests.proxy.tls import authority

DEAD: set[str] = set()
TROUBLED: set[str] = set()
NOW = time.time()
KUBELET, UNIT = (
    "/var/lib/kubelet/x",
    "/etc/systemd/system/multi-user.target.wants/distserver.service",
)
PAUSE = "registry.k8s.io/pause:3.8"
CONFIG = "/etc/containerd/config.toml"
SANDBOX = f'version = 2\n[plugins."io.containerd.grpc.v1.cri"]\nsandbox_image = "{PAUSE}"\n'
BOLT = "/var/lib/containerd/io.containerd.metadata.v1.bolt/meta.db"


def ask(endpoints: Sequence[Endpoint], _: bytes) -> Mapping[Endpoint, Answer]:
    return {one: _answer(str(one)) for one in endpoints}


def _answer(url: str) -> Answer:
    return Answer("refused" if url in DEAD else "", "not mounted" if url in TROUBLED else "")


@pytest.fixture(autouse=True)
def nobody_is_dead() -> None:
    DEAD.clear()
    TROUBLED.clear()


@pytest.fixture
def facts(node: Node) -> Facts:
    """A node with an initialised storage, and nothing else."""
    root = node.root / "var/lib/distserver"
    root.mkdir(parents=True)
    config = Config(storage=(str(root / "storage"),), state=str(root / "state"), reserve_bytes=0)
    found = app.initialise_storage(config)
    return Facts(node, config, found, ask, "linux/amd64", NOW, NOW - 86400)


@pytest.fixture
def registry(facts: Facts) -> Registry:
    return app.open_registry(facts.config)


def levels(found: Sequence[Finding]) -> list[str]:
    return [finding.level for finding in found]


Check = Callable[[Facts], object]


def run(check: Check, facts: Facts) -> list[Finding]:
    found: list[Finding] = list(check(facts))  # type: ignore[call-overload]
    for finding in found:
        assert (finding.level == OK) == (not finding.why and not finding.mend), finding
    return found


def only(check: Check, facts: Facts) -> Finding:
    (found,) = run(check, facts)
    return found


def certify(facts: Facts, directory: Path) -> Facts:
    pair = authority(directory, "server")
    config = replace(facts.config, tls_cert=str(pair.cert), tls_key=str(pair.key))
    return replace(facts, config=config)


class TestServer:
    def test_who_starts_it(self, facts: Facts, put: Put) -> None:
        assert only(server.started_at_boot, facts).level == STOP
        archive = put("/var/lib/rancher/k3s/agent/images/distserver-1.0-amd64.tar", "")
        assert only(server.started_at_boot, facts).level == OK
        archive.unlink()
        put(UNIT, "").unlink()
        facts.node.path(UNIT).symlink_to("/nowhere")  # it leads to a file of the node's own root
        assert "is enabled" in only(server.started_at_boot, facts).what
        assert only(server.started_at_boot, facts).level == OK

    def test_mode(self, facts: Facts) -> None:
        assert only(server.mode, facts).level == OK
        Mode(Path(facts.config.state), "online").switch("offline")
        assert "offline" in only(server.mode, facts).what
        assert only(server.mode, facts).level == WARN

    def test_certificate(self, facts: Facts, tmp_path: Path) -> None:
        assert run(server.certificate, facts) == []
        facts = certify(facts, tmp_path)
        until = validity_of_pem(Path(facts.config.tls_cert).read_bytes()).until
        assert abs(until - time.time() - 2 * 86400) < 600
        for now, level, words in (
            (until - 3 * 86400, STOP, "not valid yet"),
            (until - 86400, WARN, "ends in 1 days"),
            (until + 3 * 86400, STOP, "ended 3 days ago"),
        ):
            found = only(server.certificate, replace(facts, now=now))
            assert (found.level, words in found.what) == (level, True), found
        Path(facts.config.tls_key).unlink()
        assert "No such file" in only(server.certificate, facts).what

    def test_named_servers(self, facts: Facts) -> None:
        facts = replace(facts, endpoints=(parse_endpoint(A), parse_endpoint(B)))
        DEAD.add(B)
        assert levels(run(server.answers, facts)) == [OK, STOP]
        TROUBLED.add(A)
        assert "not mounted" in run(server.answers, facts)[0].what


class TestStorage:
    def test_identity(self, facts: Facts) -> None:
        assert only(storage.identity, facts).level == OK
        assert "another storage" in only(storage.identity, replace(facts, known_id="x")).what

    def test_never_initialised(self, facts: Facts, tmp_path: Path) -> None:
        facts = replace(facts, config=replace(facts.config, storage=(str(tmp_path / "none"),)))
        assert "does not exist" in only(storage.identity, facts).what
        (tmp_path / "none").mkdir()
        assert "is not the storage that was here" in only(storage.identity, facts).what
        fresh = only(storage.identity, replace(facts, known_id=None))
        assert "never initialised" in fresh.what
        assert fresh.level == STOP

    def test_room(self, facts: Facts, monkeypatch: pytest.MonkeyPatch) -> None:
        assert only(storage.room, facts).level == OK
        monkeypatch.setattr(storage, "NEARLY_FULL_BYTES", 1 << 60)
        assert levels(run(storage.room, facts)) == [WARN]
        assert levels(run(storage.state_disk, facts)) == [WARN]

    def test_disks(self, facts: Facts, put: Put, monkeypatch: pytest.MonkeyPatch) -> None:
        put("/var/lib/containerd/x", "")
        monkeypatch.setattr(storage, "KUBELET_PERCENT", 0)
        assert run(storage.disks, facts) == []
        put(KUBELET, "")
        assert levels(run(storage.disks, facts)) == [WARN]


class TestClock:
    def test_the_time_can_be_true(self, facts: Facts) -> None:
        assert only(clock.clock, facts).level == OK

    @pytest.mark.parametrize(("now", "words"), [(0.0, "before 2020"), (-9e6, "installed")])
    def test_it_cannot(self, facts: Facts, tmp_path: Path, now: float, words: str) -> None:
        now += NOW if now else 0
        found = only(clock.clock, replace(facts, now=now))
        assert words in found.what
        assert found.level == WARN
        assert only(clock.clock, replace(certify(facts, tmp_path), now=now)).level == STOP

    def test_behind_its_own_files(self, facts: Facts) -> None:
        file = Path(facts.config.state) / "x/y"
        file.parent.mkdir()
        file.write_text("")
        os.utime(file, (NOW + 9e6, NOW + 9e6))
        assert "newest file" in only(clock.clock, facts).what


class TestPulling:
    HOSTS = "/etc/containerd/certs.d/_default/hosts.toml"

    def test_nothing_leads_to_us(self, facts: Facts, put: Put) -> None:
        assert run(pulling.pulling, facts) == []
        put(CONFIG, SANDBOX)
        assert only(pulling.pulling, facts).level == WARN
        put(KUBELET, "")
        assert only(pulling.pulling, facts).level == STOP

    def test_endpoints(self, facts: Facts, put: Put) -> None:
        put(self.HOSTS, f'[host."{A}"]\n[host."{B}"]\n')
        assert levels(run(pulling.pulling, facts)) == [OK, OK]
        DEAD.add(A)
        assert levels(run(pulling.pulling, facts)) == [OK, WARN]
        TROUBLED.add(B)
        assert levels(run(pulling.pulling, facts)) == [STOP]

    def test_another_runtime_of_kubernetes(self, facts: Facts, put: Put) -> None:
        """Beside k3s, a containerd that nothing of Kubernetes uses."""
        put("/etc/rancher/k3s/registries.yaml", f'mirrors:\n  "*":\n    endpoint:\n      - "{A}"\n')
        put(CONFIG, "version = 2")
        assert levels(run(pulling.pulling, facts)) == [WARN, OK]

    def test_config_path(self, facts: Facts, put: Put) -> None:
        assert run(pulling.config_path, facts) == []
        put(self.HOSTS, f'[host."{A}"]')
        put(CONFIG, SANDBOX)
        assert only(pulling.config_path, facts).level == WARN


def push(registry: Registry, name: str, *parts: bytes, tag: str = "v1") -> Digest:
    """Push an image with these layers."""
    blobs = [b"{}", *parts]
    for blob in blobs:
        registry.blobs.put(name, Digest.of(blob, "sha256"), [blob])
    described = [
        {"mediaType": "application/x", "digest": str(Digest.of(b, "sha256")), "size": len(b)}
        for b in blobs
    ]
    kind = "application/vnd.oci.image.manifest.v1+json"
    manifest = {
        "schemaVersion": 2,
        "mediaType": kind,
        "config": described[0],
        "layers": described[1:],
    }
    data = json.dumps(manifest).encode()
    return registry.manifests.put(name, None, [Tag(tag)] if tag else [], data, None).digest


def drop(facts: Facts, blob: bytes) -> None:
    """Lose a blob of every repository."""
    digest = Digest.of(blob, "sha256")
    root = Path(facts.config.storage[0])
    for record in root.glob(f"repositories/**/_blobs/sha256/{digest.hex}/*"):
        record.unlink()


def need(facts: Facts, *lines: str) -> list[Finding]:
    return run(images.needed, replace(facts, needed=tuple(images.read_needed(lines, facts))))


class TestNeeded:
    APP = "docker.io/library/app"

    def test_whole_and_in_part(self, facts: Facts, registry: Registry) -> None:
        digest = push(registry, self.APP, b"layer")
        lines = ["# ours", "", "app:v1  # short", f"{self.APP}:v1@{digest} linux/amd64 500"]
        assert [f.what for f in need(facts, *lines)] == ["2 of 2 needed images are held whole"]
        drop(facts, b"layer")
        found = need(facts, "app:v1")
        assert levels(found) == [STOP]
        assert "1 of 2 parts are not held, 0.0 MiB" in found[0].what

    def test_not_held(self, facts: Facts, registry: Registry) -> None:
        first = push(registry, self.APP, b"1")
        push(registry, self.APP, b"2")
        assert "not held" in need(facts, "app:v2")[0].what
        assert "names another digest" in need(facts, f"app:v1@{first}")[0].what

    def test_platforms(self, facts: Facts, registry: Registry) -> None:
        members = {
            arch: push(registry, self.APP, arch.encode(), tag="") for arch in ("amd64", "arm64")
        }
        kind = "application/vnd.oci.image.index.v1+json"
        manifests = [
            {
                "mediaType": "application/vnd.oci.image.manifest.v1+json",
                "digest": str(digest),
                "size": len(registry.manifests.get(self.APP, digest).data),
                "platform": {"os": "linux", "architecture": arch},
            }
            for arch, digest in members.items()
        ]
        index = {"schemaVersion": 2, "mediaType": kind, "manifests": manifests}
        registry.manifests.put(self.APP, None, [Tag("v1")], json.dumps(index).encode(), None)
        drop(facts, b"arm64")
        assert levels(need(facts, "app:v1")) == [OK]  # the node's own
        assert "for linux/arm64 are not held" in need(facts, "app:v1 linux/arm64")[0].what
        assert "nothing for linux/s390x" in need(facts, "app:v1 linux/s390x")[0].what

    def test_a_line_that_is_none(self, facts: Facts) -> None:
        with pytest.raises(NodeError, match=r"'unknown.example/x:v1' is no image: no upstream"):
            need(facts, "unknown.example/x:v1")


def archive(file: Path, name: str, document: object) -> None:
    with tarfile.open(file, "w") as tar:
        data = json.dumps(document).encode()
        entry = tarfile.TarInfo(name)
        entry.size = len(data)
        tar.addfile(entry, io.BytesIO(data))


class TestPause:
    FOLDER = "/var/lib/distserver/images"

    @pytest.fixture(autouse=True)
    def kubernetes(self, put: Put) -> None:
        put(KUBELET, "")
        put(CONFIG, SANDBOX)

    def test_nowhere(self, facts: Facts, put: Put) -> None:
        assert only(images.pause, facts).level == STOP
        put(BOLT, "xx another/pause:3.8 xx")
        assert only(images.pause, facts).level == STOP

    def test_containerd_may_have_it(self, facts: Facts, put: Put) -> None:
        put(BOLT, f"xx{PAUSE}xx")
        assert only(images.pause, facts).level == WARN

    def test_held_by_a_server_that_needs_no_pod(
        self, facts: Facts, registry: Registry, put: Put
    ) -> None:
        push(registry, "registry.k8s.io/pause", b"p", tag="3.8")
        assert only(images.pause, facts).level == STOP
        put(UNIT, "")
        assert only(images.pause, facts).level == OK

    @pytest.mark.parametrize(
        ("member", "document"),
        [
            ("manifest.json", [{"RepoTags": None}, {"RepoTags": [PAUSE]}]),
            (
                "index.json",
                {"manifests": [{}, {"annotations": {"io.containerd.image.name": PAUSE}}]},
            ),
        ],
    )
    def test_imported_at_boot(self, facts: Facts, put: Put, member: str, document: object) -> None:
        put(f"{self.FOLDER}/bad.tar", "not a tar")
        archive(put(f"{self.FOLDER}/a.tar", ""), member, document)
        assert only(images.pause, facts).level == OK

    def test_packed(self, facts: Facts, put: Put) -> None:
        put(f"{self.FOLDER}/a.tar.zst", "")
        assert "a.tar.zst" in only(images.pause, facts).what

    def test_not_named(self, facts: Facts, put: Put) -> None:
        put(CONFIG, "version = 2")
        assert only(images.pause, facts).level == WARN


def test_a_node_without_a_server(facts: Facts, node: Node) -> None:
    node.path("/var/lib/distserver").rename(node.root / "gone")
    found = list(examine(facts))
    assert found[0].what == "no server of ours is on this node"
    assert STOP not in levels(found)


def test_a_whole_node(facts: Facts, put: Put) -> None:
    put(UNIT, "")
    put("/etc/containerd/certs.d/_default/hosts.toml", f'[host."{A}"]')
    assert set(levels(list(examine(facts)))) == {OK}
    assert len(OF_A_SERVER) + len(OF_A_NODE) == 13


def test_what_cannot_be_read_is_told_and_the_rest_goes_on(facts: Facts, put: Put) -> None:
    put("/etc/docker/daemon.json", "{")
    found = list(examine(facts))
    assert any("daemon.json" in finding.what and finding.level == STOP for finding in found)
    assert any("storage" in finding.what for finding in found)


def test_nothing_is_written(facts: Facts, put: Put) -> None:
    put(UNIT, "")
    Path(facts.config.state, "storage_id").unlink()
    before = {path: path.stat().st_mtime_ns for path in facts.node.root.rglob("*")}
    list(examine(replace(facts, known_id=None)))
    assert {path: path.stat().st_mtime_ns for path in facts.node.root.rglob("*")} == before
    assert store_ids(
        app.open_storage(load(environ={}, flags={"storage": facts.config.storage}).config)
    )
