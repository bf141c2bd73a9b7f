"""What the Kubernetes API tells of the images that run."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from distserver.evicting import kubernetes as module
from distserver.evicting.kubernetes import Cluster, NotTold, in_cluster
from tests.evicting.pods import Api, kubernetes, pod

DIGEST = "sha256:" + "a" * 64


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    with kubernetes(tmp_path_factory.mktemp("cluster")) as api:
        yield api


@pytest.fixture
def api(running: Api) -> Api:
    running.status, running.page = 0, 2
    running.asked.clear()
    running.pods = [pod(f"app:{n}", ids=(f"up.site/app@{DIGEST}",)) for n in range(5)]
    return running


def cluster(api: Api) -> Cluster:
    environ = {"KUBERNETES_SERVICE_HOST": "127.0.0.1", "KUBERNETES_SERVICE_PORT": str(api.port)}
    found = in_cluster(environ, api.account)
    assert found
    return found


def test_all_pages_are_read(api: Api) -> None:
    named = {f"app:{n}" for n in range(5)} | {f"up.site/app@{DIGEST}", "sha256:0"}
    assert set(cluster(api).images()) == named
    assert len(api.asked) == 3


def test_what_is_no_good_answer_tells_nothing(
    api: Api, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    api.status = 403
    with pytest.raises(NotTold, match="403"):
        cluster(api).images()
    api.status, api.pods = 0, [{"spec": []}]
    with pytest.raises(NotTold):
        cluster(api).images()
    with pytest.raises(NotTold):
        Cluster(cluster(api).url, tmp_path).images()  # neither token nor authority
    api.pods, api.page = [pod("a:1")] * 9, 1
    monkeypatch.setattr(module, "MAX_PAGES", 3)
    with pytest.raises(NotTold, match="pages"):
        cluster(api).images()
    monkeypatch.setattr(module, "MAX_PAGE_BYTES", 10)
    with pytest.raises(NotTold, match="page of more"):
        cluster(api).images()
    monkeypatch.setattr(module, "MAX_PAGE_BYTES", 1 << 20)
    monkeypatch.setattr(module, "ALL_SECONDS", -1.0)
    with pytest.raises(NotTold, match="not done"):
        cluster(api).images()


def test_only_a_pod_has_a_cluster(tmp_path: Path) -> None:
    assert in_cluster({}, tmp_path) is None
    assert in_cluster({"KUBERNETES_SERVICE_HOST": "::1"}, tmp_path) is None
    (tmp_path / "token").write_text("x")
    found = in_cluster({"KUBERNETES_SERVICE_HOST": "::1"}, tmp_path)
    assert found and found.url == "https://[::1]:443"
