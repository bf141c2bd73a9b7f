"""What is written for each runtime, read by parsers of the formats, and read back by ourselves."""

from __future__ import annotations

import json
import re
import tomllib

import pytest

from distserver.nodes.apply import NodeFiles
from distserver.nodes.endpoints import parse_endpoint
from distserver.nodes.node import Node, NodeError
from distserver.nodes.plan import Plan
from distserver.nodes.runtimes import RUNTIMES
from distserver.nodes.runtimes.containerd_config import read_config
from tests.node_config.conftest import A, B, Put, wish

HOSTS = "/etc/containerd/certs.d/_default/hosts.toml"
CONFIG = "/etc/containerd/config.toml"
V1 = '[plugins."io.containerd.grpc.v1.cri".registry]\n'
V3 = '[plugins."io.containerd.cri.v1.images".registry]\n'
SECURE = "https://a.site:5000"


def files(plan: Plan) -> dict[str, str]:
    return {file.path: file.data.decode() for file in plan.files}


@pytest.mark.parametrize("name", RUNTIMES)
@pytest.mark.parametrize("only", [False, True])
def test_what_was_written_is_read_back(node: Node, name: str, only: bool) -> None:
    runtime = RUNTIMES[name]
    assert list(runtime.endpoints(node)) == []
    assert not runtime.installed(node)
    NodeFiles(node).write(runtime.family, runtime.plan(wish(only=only), node).files)
    assert [str(one) for one in runtime.endpoints(node)] == [A, B]
    assert set(runtime.files(node)) == set(files(runtime.plan(wish(only=only), node)))
    lines = NodeFiles(node).write(runtime.family, runtime.plan(wish(only=only), node).files)
    assert all(line.startswith("unchanged") for line in lines)


@pytest.mark.parametrize("name", RUNTIMES)
def test_the_authority_is_written_and_named(node: Node, name: str) -> None:
    plan = RUNTIMES[name].plan(wish(SECURE, A, ca=b"PEM", only=True), node)
    (path,) = [path for path, text in files(plan).items() if text == "PEM"]
    others = "".join(text for text in files(plan).values() if text != "PEM")
    if name == "containerd":  # as seen from the directory of hosts.toml
        assert others.count('ca = "../distserver-ca.crt"') == 1
        assert path == "/etc/containerd/certs.d/distserver-ca.crt"
    elif name in ("k3s", "rke2"):
        assert others.count(path) == 1
    else:  # found by the library, by this very name
        assert path.endswith("/certs.d/a.site:5000/ca.crt")


class TestContainerd:
    def plan(self, node: Node, **more: object) -> Plan:
        return RUNTIMES["containerd"].plan(wish(**more), node)

    def hosts(self, node: Node, **more: object) -> dict[str, object]:
        return tomllib.loads(files(self.plan(node, **more))[HOSTS])

    def test_hosts(self, node: Node) -> None:
        found = self.hosts(node)
        each = {"capabilities": ["pull", "resolve"], "dial_timeout": "1s"}
        assert found == {"host": {A: each, B: each}}
        assert list(found["host"]) == [A, B]  # type: ignore[call-overload]

    def test_only_leaves_no_other_place(self, node: Node) -> None:
        assert self.hosts(node, only=True)["server"] == B

    def test_a_registry_of_its_own(self, node: Node) -> None:
        found = files(self.plan(node, registries=("quay.io",)))
        assert found["/etc/containerd/certs.d/quay.io/hosts.toml"] == found[HOSTS]

    def test_other_ways_are_told(self, node: Node, put: Put) -> None:
        put("/etc/containerd/certs.d/docker.io/hosts.toml", '[host."https://mirror.example/v2/x"]')
        notes = " ".join(self.plan(node).notes)
        assert "--registry docker.io replaces it" in notes
        plan = self.plan(node, registries=("docker.io",))
        assert plan.notes == ()
        NodeFiles(node).write("containerd", plan.files)
        assert self.plan(node).notes == ()  # ours, and taken back when it is not wished any more

    def test_no_config(self, node: Node) -> None:
        plan = self.plan(node)
        assert plan.restart
        assert plan.notes == ()
        NodeFiles(node).write("containerd", plan.files)
        assert read_config(node).config_path == "/etc/containerd/certs.d"
        assert not self.plan(node).restart

    @pytest.mark.parametrize("head", [V1, V3])
    def test_the_directory_that_is_set_is_used(self, node: Node, put: Put, head: str) -> None:
        put(CONFIG, f'version = 2\n{head}config_path = "/srv/certs.d:/etc/docker/certs.d"')
        plan = self.plan(node)
        assert list(files(plan)) == ["/srv/certs.d/_default/hosts.toml"]
        assert plan.notes == ()
        assert not plan.restart

    def test_it_may_be_set_by_an_import(self, node: Node, put: Put) -> None:
        put(CONFIG, 'version = 2\nimports = ["conf.d/*.toml"]')
        put("/etc/containerd/conf.d/a.toml", f'{V1}config_path = "/srv/certs.d"')
        assert list(files(self.plan(node))) == ["/srv/certs.d/_default/hosts.toml"]

    @pytest.mark.parametrize(("version", "head"), [(2, V1), (3, V3)])
    def test_missing_lines_are_told_not_written(
        self, node: Node, put: Put, version: int, head: str
    ) -> None:
        put(CONFIG, f"version = {version}\n")
        plan = self.plan(node)
        assert list(files(plan)) == [HOSTS]
        (note,) = plan.notes
        lines = note.split("\n\n")[1]
        put(CONFIG, f"version = {version}\n{lines}")
        assert lines.startswith(head)
        assert self.plan(node).notes == ()

    def test_old_mirrors_have_to_go(self, node: Node, put: Put) -> None:
        mirrors = (
            '[plugins."io.containerd.grpc.v1.cri".registry.mirrors."docker.io"]\nendpoint = []'
        )
        put(CONFIG, f"version = 2\n{mirrors}")
        assert "first remove registry.mirrors" in " ".join(self.plan(node).notes)

    def test_docker_s_package_switches_cri_off(self, node: Node, put: Put) -> None:
        put(CONFIG, 'disabled_plugins = ["cri"]')
        notes = " ".join(self.plan(node).notes)
        assert "switches cri off" in notes
        assert "`version = 2` has to be its first line" in notes

    def test_odd_values_are_no_traceback(self, node: Node, put: Put) -> None:
        put(CONFIG, 'version = 2\nplugins = 5\nimports = "x"')
        assert files(self.plan(node))
        put(CONFIG, "version = ")
        with pytest.raises(NodeError, match=CONFIG):
            self.plan(node)


class TestRancher:
    """Their schema: mirrors.<registry>.endpoint, a list; configs.<host:port>.tls.ca_file."""

    FILE = "/etc/rancher/k3s/registries.yaml"

    def test_registries(self, node: Node) -> None:
        text = files(RUNTIMES["k3s"].plan(wish(registries=("quay.io",)), node))[self.FILE]
        assert text.splitlines()[1:] == [
            "mirrors:",
            *('  "*":', "    endpoint:", f'      - "{A}"', f'      - "{B}"'),
            *('  "quay.io":', "    endpoint:", f'      - "{A}"', f'      - "{B}"'),
        ]

    def test_authority(self, node: Node) -> None:
        text = files(RUNTIMES["rke2"].plan(wish(SECURE, ca=b"PEM"), node))[
            "/etc/rancher/rke2/registries.yaml"
        ]
        assert text.splitlines()[-4:] == [
            *("configs:", '  "a.site:5000":', "    tls:"),
            '      ca_file: "/etc/rancher/rke2/distserver-ca.crt"',
        ]

    def test_only_is_a_start_option(self, node: Node) -> None:
        found = files(RUNTIMES["k3s"].plan(wish(only=True), node))
        text = found["/etc/rancher/k3s/config.yaml.d/distserver.yaml"]
        assert text.endswith("\ndisable-default-registry-endpoint: true\n")

    def test_the_operator_s_file_is_not_replaced(self, node: Node, put: Put) -> None:
        put(self.FILE, 'configs:\n  "a":\n    auth:\n      password: x\n')
        plan = RUNTIMES["k3s"].plan(wish(), node)
        with pytest.raises(NodeError, match="add these lines") as refused:
            NodeFiles(node).write("k3s", plan.files)
        assert 'mirrors:\n  "*":' in str(refused.value)

    def test_endpoints_of_others(self, node: Node, put: Put) -> None:
        put(
            self.FILE, f"mirrors:\n  docker.io:\n    endpoint:\n    - '{A}'\n    - https://m/v2/x\n"
        )
        assert [str(one) for one in RUNTIMES["k3s"].endpoints(node)] == [A]


class TestContainers:
    FILE = "/etc/containers/registries.conf.d/distserver.conf"

    def entries(self, node: Node, *urls: str, **more: object) -> dict[str, dict[str, object]]:
        plan = RUNTIMES["podman"].plan(wish(*urls, **more), node)
        found = tomllib.loads(files(plan)[self.FILE])["registry"]
        return {entry["prefix"]: entry for entry in found}

    def test_mirrors(self, node: Node) -> None:
        found = self.entries(node, A, SECURE, registries=("private.site:5000",))
        assert len(found) == 17
        assert found["docker.io"] == {
            "prefix": "docker.io",
            "location": "docker.io",
            "mirror": [
                {"location": "10.0.0.5:5000/docker.io", "insecure": True},
                {"location": "a.site:5000/docker.io"},
            ],
        }
        mirrors = found["private.site:5000"]["mirror"]
        assert mirrors[0]["location"] == "10.0.0.5:5000/private.site_5000"  # type: ignore[index]

    def test_only_moves_the_location(self, node: Node) -> None:
        found = self.entries(node, only=True)
        assert not re.search(r'"location": "[a-z.]+"', json.dumps(found))
        assert found["quay.io"]["location"] == "10.0.0.6:5000/quay.io"
        assert [m["location"] for m in found["quay.io"]["mirror"]] == ["10.0.0.5:5000/quay.io"]  # type: ignore[attr-defined]
        assert "mirror" not in self.entries(node, A, only=True)["quay.io"]


class TestDocker:
    FILE = "/etc/docker/daemon.json"

    def settings(self, node: Node, **more: object) -> dict[str, object]:
        plan = RUNTIMES["docker"].plan(wish(A, SECURE, **more), node)
        settings: dict[str, object] = json.loads(files(plan)[self.FILE])
        return settings

    def test_all_else_stays(self, node: Node, put: Put) -> None:
        put(self.FILE, '{"data-root": "/d", "registry-mirrors": ["https://m"], "debug": true}')
        assert self.settings(node) == {
            "data-root": "/d",
            "registry-mirrors": [A, SECURE, "https://m"],
            "debug": True,
            "insecure-registries": ["10.0.0.5:5000"],
        }
        assert self.settings(node, only=True)["registry-mirrors"] == [A, SECURE]

    def test_what_cannot_be_had_is_said(self, node: Node) -> None:
        plan = RUNTIMES["docker"].plan(wish(only=True, registries=("quay.io",)), node)
        notes = " ".join(plan.notes)
        for words in ("Docker Hub only", "cannot be promised", "Not covered: quay.io"):
            assert words in notes

    @pytest.mark.parametrize("text", ["{", "[]", '{"registry-mirrors": "x"}'])
    def test_a_file_that_cannot_be_merged(self, node: Node, put: Put, text: str) -> None:
        put(self.FILE, text)
        with pytest.raises(NodeError, match=self.FILE):
            self.settings(node)


def test_endpoints_are_compared_by_value() -> None:
    assert parse_endpoint(A) == parse_endpoint(A + "/")
