"""Pods by CRI, as kubelet starts them: in the network of their node, which needs no CNI."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import grpc
from cri_api.v1 import api_pb2, api_pb2_grpc

from tests.clients.containerd import Containerd
from tests.live import wait_for

START_SECONDS = 60.0
_NODE = api_pb2.NamespaceOption(network=api_pb2.NODE)


@dataclass(frozen=True)
class Pod:
    """A pod of one container.

    log  what the container says, each line with its time before it, as kubelet has it
    """

    service: api_pb2_grpc.RuntimeServiceStub
    sandbox: str
    container: str
    log: Path

    def wait(self) -> int:
        """Wait until the container has ended; return its exit code. Raises: TimeoutError."""
        wait_for(lambda: self._status().state == api_pb2.CONTAINER_EXITED, START_SECONDS, "end")
        return int(self._status().exit_code)

    def stop(self, seconds: int) -> int:
        """Stop the container as kubelet does; return its exit code."""
        stopping = api_pb2.StopContainerRequest(container_id=self.container, timeout=seconds)
        self.service.StopContainer(stopping, timeout=seconds + START_SECONDS)
        return self.wait()

    def said(self) -> list[str]:
        """The lines that the container has written."""
        return [line.split(" ", 3)[3] for line in self.log.read_text().splitlines()]

    def _status(self) -> api_pb2.ContainerStatus:
        request = api_pb2.ContainerStatusRequest(container_id=self.container)
        return self.service.ContainerStatus(request, timeout=START_SECONDS).status


@dataclass
class Pods:
    """Starts the pods of a node; all are gone at the end."""

    service: api_pb2_grpc.RuntimeServiceStub
    logs: Path
    sandboxes: list[str] = field(default_factory=list)

    def start(
        self,
        name: str,
        image: str,
        env: Mapping[str, str] | None = None,
        mounts: Mapping[str, Path] | None = None,
    ) -> Pod:
        """Start a pod of an image that is there; its root file system is read-only.

        mounts  directories of the node, by the path where the container sees them
        Raises: grpc.RpcError.
        """
        sandbox = self._sandbox(name)
        config = api_pb2.ContainerConfig(
            metadata=api_pb2.ContainerMetadata(name=name),
            image=api_pb2.ImageSpec(image=image),
            envs=[api_pb2.KeyValue(key=key, value=text) for key, text in (env or {}).items()],
            mounts=[
                api_pb2.Mount(container_path=there, host_path=str(here))
                for there, here in (mounts or {}).items()
            ],
            log_path=f"{name}.log",
            linux=api_pb2.LinuxContainerConfig(
                security_context=api_pb2.LinuxContainerSecurityContext(
                    namespace_options=_NODE, readonly_rootfs=True, no_new_privs=True
                )
            ),
        )
        creating = api_pb2.CreateContainerRequest(
            pod_sandbox_id=sandbox, config=config, sandbox_config=self._config(name)
        )
        made = self.service.CreateContainer(creating, timeout=START_SECONDS).container_id
        starting = api_pb2.StartContainerRequest(container_id=made)
        self.service.StartContainer(starting, timeout=START_SECONDS)
        return Pod(self.service, sandbox, made, self.logs / f"{name}.log")

    def remove_all(self) -> None:
        """Stop and remove all pods."""
        while self.sandboxes:
            name = self.sandboxes.pop()
            stopping = api_pb2.StopPodSandboxRequest(pod_sandbox_id=name)
            self.service.StopPodSandbox(stopping, timeout=START_SECONDS)
            removing = api_pb2.RemovePodSandboxRequest(pod_sandbox_id=name)
            self.service.RemovePodSandbox(removing, timeout=START_SECONDS)

    def _sandbox(self, name: str) -> str:
        request = api_pb2.RunPodSandboxRequest(config=self._config(name))
        made = str(self.service.RunPodSandbox(request, timeout=START_SECONDS).pod_sandbox_id)
        self.sandboxes.append(made)
        return made

    def _config(self, name: str) -> api_pb2.PodSandboxConfig:
        return api_pb2.PodSandboxConfig(
            metadata=api_pb2.PodSandboxMetadata(name=name, uid=name, namespace="drill"),
            log_directory=str(self.logs),
            linux=api_pb2.LinuxPodSandboxConfig(
                security_context=api_pb2.LinuxSandboxSecurityContext(namespace_options=_NODE)
            ),
        )


@contextmanager
def pods(node: Containerd) -> Iterator[Pods]:
    """Lend what starts pods on a node."""
    logs = node.root / "logs"
    logs.mkdir()
    with grpc.insecure_channel(f"unix://{node.root}/c.sock") as channel:
        made = Pods(api_pb2_grpc.RuntimeServiceStub(channel), logs)
        try:
            yield made
        finally:
            made.remove_all()
