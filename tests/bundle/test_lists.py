"""Lists of images: plain ones, lock files, Kubernetes manifests, charts."""

from __future__ import annotations

import io
import sys
import tarfile
from pathlib import Path

import pytest

from distserver.bundle.preloading import charts, lists
from distserver.bundle.preloading.charts import ListInvalid
from distserver.bundle.preloading.lists import Listed, parse_list, read_list

D = "sha256:" + "a" * 64


def names(text: str) -> list[str]:
    return [listed.name for listed in parse_list(text, "test")]


def test_a_plain_list_has_comments_and_each_image_once() -> None:
    text = f"\ufeff# site\n\nnginx:1.27  # web\r\n  quay.io/a/b@{D}\nnginx:1.27\n#busybox\n"
    assert names(text) == ["nginx:1.27", f"quay.io/a/b@{D}"]


def test_a_line_of_a_lock_file_brings_its_platforms() -> None:
    text = f"# lock\nquay.io/a/b:v1@{D} linux/amd64 linux/arm/v7 12\ndocker.io/x/y@{D} all 3\nz:1\n"
    assert parse_list(text, "test") == [
        Listed(f"quay.io/a/b:v1@{D}", ("linux/amd64", "linux/arm/v7")),
        Listed(f"docker.io/x/y@{D}", ()),
        Listed("z:1"),
    ]


MANIFESTS = """\
# all of it
apiVersion: apps/v1
kind: Deployment
spec:
  template:
    spec:
      initContainers: [{name: init, image: "busybox:1.36"}]
      containers:
      - name: app
        image: site/app:1   # ours
        env: [{name: image, value: not:this}]
      ephemeralContainers:
      - image: debug:1
---
---
apiVersion: v1
kind: ConfigMap
data:
  text: |
    image: in-a-text:1
---
apiVersion: v1
kind: List
items:
- kind: Prometheus
  spec: {image: quay.io/prometheus/prometheus:v3, shards: 1}
- kind: CustomResourceDefinition
  spec: {properties: {image: {type: string}}}
- kind: Pod
  spec: {containers: [{image: ""}, {image: 'busybox:1.36'}]}
"""


def test_manifests_name_images_wherever_they_are_nested() -> None:
    assert names(MANIFESTS) == [
        "busybox:1.36",
        "site/app:1",
        "debug:1",
        "quay.io/prometheus/prometheus:v3",
    ]


def test_json_is_yaml() -> None:
    assert names('{"kind": "Pod", "spec": {"containers": [{"image": "a:1"}]}}') == ["a:1"]
    assert names('{\n"spec":\n{"image":\n"a:1"\n}\n}\n') == ["a:1"]


def test_aliases_do_not_explode() -> None:
    lines = ["a0: &a0 {image: x:1}"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]" for i in range(1, 60)]
    assert names("\n".join(lines)) == ["x:1"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("nginx 1.27\nbusybox:1\n", "neither an image a line nor YAML: 'nginx 1.27'"),
        ("kind: Pod\nimage: {{ .Values.image }}\nother: {{ x }}: y\n", "of a chart, name the"),
        ("kind: Pod\n\timage: a\n", "test: "),
        ("kind: !!python/object/apply:os.system [id]\n", "test: "),
        ("kind: " + "[" * 5000 + "\n", "test: "),
        ("date: 2024-13-45\nimage: a:1 b\n", "test: "),
    ],
)
def test_what_cannot_be_read_is_an_error_that_names_the_file(text: str, words: str) -> None:
    with pytest.raises(ListInvalid, match="test: ") as raised:
        parse_list(text, "test")
    assert words in str(raised.value)


def test_files_are_text_and_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "list"
    file.write_text("nginx:1\n")
    assert read_list(str(file)) == [Listed("nginx:1")]
    monkeypatch.setattr(lists, "MAX_BYTES", 7)
    with pytest.raises(ListInvalid, match="larger than"):
        read_list(str(file))
    file.write_bytes(b"\xff\xfe")
    with pytest.raises(ListInvalid, match="no text"):
        read_list(str(file))


def test_standard_input(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"nginx:1\n")))
    assert read_list("-") == [Listed("nginx:1")]


def chart(directory: Path, template: str) -> Path:
    """A Helm chart."""
    (directory / "templates").mkdir(parents=True)
    (directory / "Chart.yaml").write_text("apiVersion: v2\nname: app\nversion: 1.0.0\n")
    (directory / "values.yaml").write_text('image: {repository: quay.io/a/b, tag: "7"}\n')
    (directory / "templates" / "pod.yaml").write_text(template)
    return directory


POD = """\
kind: Pod
spec:
  containers:
  - image: "{{ .Values.image.repository }}:{{ .Values.image.tag }}"
"""
FAKE = """\
#!{python}
import sys, time
from pathlib import Path
assert sys.argv[1:3] == ["template", "preload"], sys.argv
{body}
"""


def helm(directory: Path, monkeypatch: pytest.MonkeyPatch, body: str) -> None:
    """Put a helm on the path that does what we say."""
    directory.mkdir()
    command = directory / "helm"
    command.write_text(FAKE.format(python=sys.executable, body=body))
    command.chmod(0o755)
    monkeypatch.setenv("PATH", str(directory))


@pytest.mark.parametrize("packed", [False, True])
def test_a_chart_is_rendered_by_helm(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, packed: bool
) -> None:
    helm(tmp_path / "bin", monkeypatch, "assert Path(sys.argv[3]).exists(); print('image: a:1')")
    source = chart(tmp_path / "app", POD)
    if packed:
        with tarfile.open(tmp_path / "app-1.0.0.tgz", "w:gz") as archive:
            archive.add(source, "app")
        source = tmp_path / "app-1.0.0.tgz"
    assert read_list(str(source)) == [Listed("a:1")]


def test_helm_says_what_is_wrong_and_has_a_deadline(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = str(chart(tmp_path / "app", POD))
    helm(tmp_path / "bad", monkeypatch, "sys.exit('no such value')")
    with pytest.raises(ListInvalid, match="helm says: no such value"):
        read_list(source)
    monkeypatch.setattr(charts, "HELM_SECONDS", 0.5)
    helm(tmp_path / "slow", monkeypatch, "time.sleep(60)")
    with pytest.raises(ListInvalid, match="not done in"):
        read_list(source)


def test_without_helm_it_is_said_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ListInvalid, match="helm is not on the path.*helm template"):
        read_list(str(chart(tmp_path / "app", POD)))
