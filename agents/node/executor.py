"""Carries out a pod worker's actions: the edge where the plan meets runtime, network, file system and API.

What an action learns goes into the pod's memory; failures go there too, with an event, and are planned around.
`RuntimeAway` is let through: then nothing is known, and the worker waits.
"""

from __future__ import annotations

import asyncio

from agents.node import sysctls
from agents.node.actions import (
    Action,
    CreateSandbox,
    DeletePod,
    EnsureImage,
    PrepareVolumes,
    RemoveContainer,
    RemoveSandbox,
    StartContainer,
    StopContainer,
    TearDown,
    WireSandbox,
)
from agents.node.container_executor import ContainerExecutor
from agents.node.context import NodeContext
from agents.node.memory import PodMemory
from agents.node.network_port import NetworkFailure
from agents.node.podspec import host_network
from agents.node.ports import RuntimeAway, RuntimeFailure, SandboxSpec, SandboxStatus
from agents.node.resources import pod_resources, qos_class
from agents.node.security import ConfigError
from agents.node.volumes import VolumeError
from mesh.errors import Conflict, NotFound, Unavailable
from mesh.objects.kinds import PODS
from mesh.objects.meta import name_of, namespace_of, uid_of
from mesh.objects.types import Object


class PodExecutor(ContainerExecutor):
    """Acts for one pod: what concerns single containers is the base's."""

    def __init__(self, pod: Object, memory: PodMemory, context: NodeContext) -> None:
        super().__init__(pod, memory, context)
        self.deleted = False
        """The API has confirmed that the pod is gone."""

    async def run(self, action: Action, status: Object) -> None:
        """Carry out one action. `status` is the pod's status as last computed. Raises `RuntimeAway`."""
        match action:
            case PrepareVolumes():
                await self._prepare_volumes(status)
            case CreateSandbox():
                await self._create_sandbox(action)
            case WireSandbox(sandbox_id=sandbox_id):
                await self._wire(next(s for s in self._memory.sandboxes if s.id == sandbox_id))
            case RemoveSandbox(sandbox_id=sandbox_id):
                await self._remove_sandbox(sandbox_id)
            case EnsureImage(container=name):
                await self.ensure_image(name)
            case StartContainer():
                await self.start(action, status)
            case StopContainer():
                await self.stop(action)
            case RemoveContainer(container_id=container_id):
                await self._context.runtime.remove_container(container_id)
            case TearDown():
                await self._tear_down()
            case DeletePod(uid=uid):
                await self._delete(uid)

    async def _prepare_volumes(self, status: Object) -> None:
        try:
            await self.volumes.prepare(self.pod, status)
        except (VolumeError, ConfigError, OSError, Unavailable) as error:
            self._fail_pod("volumes", "FailedMount", str(error))
        else:
            self._memory.volumes_ready = True
            self._worked("volumes")

    def _fail_pod(self, what: str, reason: str, message: str) -> None:
        self.event("Warning", reason, message)
        self._memory.pod_failure = self._memory.failure(what, reason, message, self._context.clock.now())

    def _worked(self, what: str) -> None:
        self._memory.succeeded(what)
        self._memory.pod_failure = None

    async def _create_sandbox(self, action: CreateSandbox) -> None:
        if action.changed:
            self.event("Normal", "SandboxChanged", "Pod sandbox changed, it will be killed and re-created.")
        if not await self._ensure_cgroup():
            return
        spec = self.pod["spec"]
        try:
            sandbox = await self._context.runtime.create_sandbox(
                SandboxSpec(
                    pod_uid=uid_of(self.pod),
                    pod_namespace=namespace_of(self.pod),
                    pod_name=name_of(self.pod),
                    sysctls=sysctls.of_pod(self.pod),
                    host_network=host_network(self.pod),
                    host_pid=bool(spec.get("hostPID")),
                    host_ipc=bool(spec.get("hostIPC")),
                )
            )
        except RuntimeAway:
            raise
        except RuntimeFailure as error:
            self._fail_pod("sandbox", "FailedCreatePodSandBox", f"Failed to create pod sandbox: {error.message}")
            return
        self._memory.sandboxes.append(sandbox)
        self._memory.addresses = ()
        self._worked("sandbox")
        await self._wire(sandbox)

    async def _ensure_cgroup(self) -> bool:
        """The pod's cgroup, before anything can run in it; whether it is there."""
        uid, qos = uid_of(self.pod), qos_class(self.pod)
        try:
            await self._context.cgroups.ensure(uid, qos, pod_resources(self.pod))
        except OSError as error:
            message = f"unable to ensure pod container exists: failed to create container for pod{uid} : {error}"
            self._fail_pod("cgroup", "FailedCreatePodContainer", message)
            return False
        self._worked("cgroup")
        return True

    async def _wire(self, sandbox: SandboxStatus) -> None:
        if host_network(self.pod):
            return
        try:
            wired = await self._context.network.attach(
                sandbox.id, sandbox.netns, sysctls.of_network(sysctls.of_pod(self.pod))
            )
        except NetworkFailure as error:
            message = f'Failed to create pod sandbox: failed to set up network for "{sandbox.id}": {error}'
            self._fail_pod("network", "FailedCreatePodSandBox", message)
            return
        self._memory.addresses = wired.addresses
        self._worked("network")

    async def _remove_sandbox(self, sandbox_id: str) -> None:
        await self._context.runtime.remove_sandbox(sandbox_id)
        await self._context.network.detach(sandbox_id)
        self._memory.sandboxes = [s for s in self._memory.sandboxes if s.id != sandbox_id]
        self._memory.addresses = ()

    async def _tear_down(self) -> None:
        uid = uid_of(self.pod)
        await self._context.files.remove(uid)
        await self._context.cgroups.remove(uid)
        self._context.objects.release(uid)
        self._context.images.forget(uid)
        self._context.tokens.forget(uid)
        self._memory.volumes_ready = False
        self._memory.finished = True

    async def _delete(self, uid: str) -> None:
        """The final DELETE. The pod's last status goes first, so that watchers see how its containers ended."""
        await self._context.status.flush(uid)
        try:
            await self._context.client.delete(
                PODS, name_of(self.pod), namespace_of(self.pod), uid=uid, grace_period_seconds=0
            )
        except (NotFound, Conflict):
            pass  # gone already, or another pod of this name
        except Unavailable:
            await asyncio.sleep(1)  # asked again by the next plan
            return
        self.deleted = True
