"""Carries out a pod worker's actions: the edge where the plan meets runtime, network, file system and API.

What an action learns goes into the pod's memory; failures go there too, with an event, and are planned around.
`RuntimeAway` is let through: then nothing is known, and the worker waits.
"""

from __future__ import annotations

import asyncio
import logging

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
from agents.node.container_spec import Placement, container_spec
from agents.node.context import NodeContext
from agents.node.environment import environment
from agents.node.handlers import run_hook
from agents.node.memory import PodMemory
from agents.node.objects import Reference
from agents.node.observed import Failure
from agents.node.pod_volumes import PodVolumes
from agents.node.podspec import host_network, place_of
from agents.node.ports import Image, NetworkFailure, RuntimeAway, RuntimeFailure, SandboxSpec, SandboxStatus
from agents.node.resources import pod_resources, qos_class
from agents.node.security import ConfigError, check_non_root
from agents.node.volumes import VolumeError
from mesh.errors import Conflict, NotFound, Unavailable
from mesh.objects.kinds import PODS
from mesh.objects.meta import name_of, namespace_of, uid_of
from mesh.objects.types import Object

log = logging.getLogger(__name__)

SHORTEST_STOP = 2
"""Seconds that a container gets after its stop signal even when its preStop hook used up the grace period."""


class PodExecutor:
    """Acts for one pod. `pod` is replaced by the worker when the API shows a newer one."""

    def __init__(self, pod: Object, memory: PodMemory, context: NodeContext) -> None:
        self.pod = pod
        self.deleted = False
        """The API has confirmed that the pod is gone."""
        self._memory = memory
        self._context = context
        self._volumes = PodVolumes(context)

    @property
    def volumes(self) -> PodVolumes:
        """The pod's volumes."""
        return self._volumes

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
                await self._ensure_image(name)
            case StartContainer():
                await self._start(action, status)
            case StopContainer():
                await self._stop(action)
            case RemoveContainer(container_id=container_id):
                await self._context.runtime.remove_container(container_id)
            case TearDown():
                await self._tear_down()
            case DeletePod(uid=uid):
                await self._delete(uid)

    def event(self, event_type: str, reason: str, message: str, container: str = "") -> None:
        """An event about the pod, or about one of its containers."""
        place = place_of(self.pod, container) if container else None
        path = place.field_path if place else ""
        self._context.recorder.record(self.pod, event_type, reason, message, field_path=path)

    async def _prepare_volumes(self, status: Object) -> None:
        try:
            await self._volumes.prepare(self.pod, status)
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

    async def _ensure_image(self, name: str) -> None:
        place = place_of(self.pod, name)
        if place is None:
            return
        self._memory.images[name] = None
        result: Image | Failure | None = None
        try:
            names = [s["name"] for s in self.pod["spec"].get("imagePullSecrets") or ()]
            references = [Reference("Secret", namespace_of(self.pod), n) for n in names]
            found = await self._context.objects.fetch(uid_of(self.pod), references)
            secrets = [obj for obj in found.values() if obj is not None]
            result = await self._context.images.ensure(
                place.container, uid_of(self.pod), secrets, lambda t, r, m: self.event(t, r, m, name)
            )
        except Unavailable as error:
            result = self._memory.failure(f"image:{name}", "ErrImagePull", str(error), self._context.clock.now())
        finally:
            # However this ended (also cancelled): the next plan decides anew.
            self._memory.images.pop(name, None)
        if isinstance(result, Image):
            self._memory.images[name] = result
            self._memory.failures.pop(name, None)
        else:
            self._memory.failures[name] = result

    async def _start(self, action: StartContainer, status: Object) -> None:
        name = action.container
        place, image = place_of(self.pod, name), self._memory.images.get(name)
        if place is None or image is None:
            return
        runtime = self._context.runtime
        try:
            spec = container_spec(
                self.pod, place.container, await self._placement(action, place.container, image, status)
            )
            container_id = await runtime.create_container(spec)
        except (ConfigError, VolumeError, Unavailable, OSError) as error:
            self._fail_container(name, "CreateContainerConfigError", str(error))
            return
        except RuntimeAway:
            raise
        except RuntimeFailure as error:
            self._fail_container(name, "CreateContainerError", error.message)
            return
        self.event("Normal", "Created", "Container created", name)
        # The next attempt asks for its image anew: its policy may say Always.
        self._memory.images.pop(name, None)
        handler = (place.container.get("lifecycle") or {}).get("postStart")
        if handler:
            self._memory.hooks.add(container_id)
        try:
            await runtime.start_container(container_id)
        except RuntimeAway:
            raise
        except RuntimeFailure as error:
            self._memory.hooks.discard(container_id)
            self._fail_container(name, "RunContainerError", error.message)
            return
        self._memory.failures.pop(name, None)
        self._memory.succeeded(f"start:{name}")
        self.event("Normal", "Started", "Container started", name)
        if handler:
            await self._post_start(place.container, container_id, handler)

    async def _placement(self, action: StartContainer, container: Object, image: Image, status: Object) -> Placement:
        context, pod = self._context, self.pod
        check_non_root(pod, container, image)
        objects = await self._volumes.lookup(pod)
        known = dict(status)
        if self._memory.addresses:
            # The status may not have been computed since the sandbox got its address.
            known |= {"podIP": self._memory.addresses[0], "podIPs": [{"ip": a} for a in self._memory.addresses]}
        variables = environment(
            pod,
            container,
            lambda kind, name: objects.get((kind, name)),
            context.services(),
            status=known,
            allocatable=context.allocatable,
        )
        uid = uid_of(pod)
        return Placement(
            sandbox_id=action.sandbox_id,
            attempt=action.attempt,
            image=image,
            environment=variables,
            mounts=self._volumes.mounts(pod, container, dict(variables), self._memory.addresses),
            termination_file=context.files.termination_file(uid, container["name"], action.attempt),
            cgroup_parent=context.cgroups.parent(uid, qos_class(pod)),
            node_memory=context.node_memory,
            delay_label=action.delay_label,
            labels={"dev.covey.pod-namespace": namespace_of(pod), "dev.covey.pod-name": name_of(pod)},
        )

    def _fail_container(self, name: str, reason: str, message: str) -> None:
        self.event("Warning", "Failed", f"Error: {message}", name)
        self._memory.failures[name] = self._memory.failure(f"start:{name}", reason, message, self._context.clock.now())

    async def _post_start(self, container: Object, container_id: str, handler: Object) -> None:
        """A container whose hook fails is killed: the plan sees it among the broken ones."""
        try:
            answer = await run_hook(
                self._context.reach, self._context.runtime, container, container_id, handler, address=self._address()
            )
            problem = "" if answer.passed else answer.output or "PostStartHook failed"
        except RuntimeAway:
            raise
        except (RuntimeFailure, ValueError) as error:
            problem = str(error)
        finally:
            self._memory.hooks.discard(container_id)
        if problem:
            log.info("pod.hook_failed pod=%s/%s reason=%s", namespace_of(self.pod), name_of(self.pod), problem)
            self.event("Warning", "FailedPostStartHook", "PostStartHook failed", container["name"])
            self._memory.broken_hooks.add(container_id)

    def _address(self) -> str:
        addresses = self._memory.addresses or self._context.host.addresses
        return addresses[0] if addresses else "127.0.0.1"

    async def _stop(self, action: StopContainer) -> None:
        self.event("Normal", "Killing", action.message, action.container)
        clock = self._context.clock
        began = clock.monotonic()
        place = place_of(self.pod, action.container)
        handler = (place.container.get("lifecycle") or {}).get("preStop") if place else None
        if place and handler and action.hook and action.grace_seconds > 0:
            await self._pre_stop(place.container, action, handler)
        left = max(action.grace_seconds - (clock.monotonic() - began), min(SHORTEST_STOP, action.grace_seconds))
        try:
            await self._context.runtime.stop_container(action.container_id, grace_seconds=left)
        except RuntimeAway:
            raise
        except RuntimeFailure as error:
            self.event("Warning", "FailedKillPod", f"error killing pod: {error.message}")
            await asyncio.sleep(1)  # the plan will ask again: not in a tight circle
        self._memory.broken_hooks.discard(action.container_id)

    async def _pre_stop(self, container: Object, action: StopContainer, handler: Object) -> None:
        """The hook runs within the grace period, and its failure does not keep the container alive."""
        try:
            async with asyncio.timeout(action.grace_seconds):
                answer = await run_hook(
                    self._context.reach,
                    self._context.runtime,
                    container,
                    action.container_id,
                    handler,
                    address=self._address(),
                )
            failed = not answer.passed
        except RuntimeAway:
            raise
        except (RuntimeFailure, ValueError, TimeoutError):
            failed = True
        if failed:
            self.event("Warning", "FailedPreStopHook", "PreStopHook failed", action.container)

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
