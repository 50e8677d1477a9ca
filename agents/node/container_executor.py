"""Carries out what a pod's plan says about single containers: their images, starts with hooks, and stops.

What an action learns goes into the pod's memory; failures go there too, with an event, and are planned around.
`RuntimeAway` is let through.
"""

from __future__ import annotations

import asyncio
import logging

from agents.node.actions import StartContainer, StopContainer
from agents.node.container_spec import Placement, container_spec
from agents.node.context import NodeContext
from agents.node.environment import environment
from agents.node.handlers import run_hook
from agents.node.memory import PodMemory
from agents.node.objects import Reference
from agents.node.observed import Failure
from agents.node.pod_volumes import PodVolumes
from agents.node.podspec import place_of
from agents.node.ports import Image, RuntimeAway, RuntimeFailure, State
from agents.node.resources import qos_class
from agents.node.security import ConfigError, check_non_root
from agents.node.volumes import VolumeError
from mesh.errors import Unavailable
from mesh.objects.meta import name_of, namespace_of, uid_of
from mesh.objects.types import Object

log = logging.getLogger(__name__)

SHORTEST_STOP = 2
"""Seconds that a container gets after its stop signal even when its preStop hook used up the grace period."""


class ContainerExecutor:
    """Acts for the containers of one pod. `pod` is replaced by the worker when the API shows a newer one."""

    def __init__(self, pod: Object, memory: PodMemory, context: NodeContext) -> None:
        self.pod = pod
        self._memory = memory
        self._context = context
        self.volumes = PodVolumes(context)

    def event(self, event_type: str, reason: str, message: str, container: str = "") -> None:
        """An event about the pod, or about one of its containers."""
        place = place_of(self.pod, container) if container else None
        path = place.field_path if place else ""
        self._context.recorder.record(self.pod, event_type, reason, message, field_path=path)

    async def ensure_image(self, name: str) -> None:
        """See to it that a container's image is there."""
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

    async def start(self, action: StartContainer, status: Object) -> None:
        """Create and start a container, and run its postStart hook."""
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
        objects = await self.volumes.lookup(pod)
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
            mounts=self.volumes.mounts(pod, container, dict(variables), self._memory.addresses),
            termination_file=context.files.termination_file(uid, container["name"], action.attempt),
            cgroup_parent=context.cgroups.parent(uid, qos_class(pod)),
            node_memory=context.node_memory,
            delay_label=action.delay_label,
            share_pid_with=self._target(container),
            labels={"dev.covey.pod-namespace": namespace_of(pod), "dev.covey.pod-name": name_of(pod)},
        )

    def _target(self, container: Object) -> str:
        """Id of the container that an ephemeral one was made to look into, "" when it names none. Raises `ConfigError`."""
        name = container.get("targetContainerName")
        if not name:
            return ""
        running = [c for c in self._memory.containers if c.name == name and c.state is State.RUNNING]
        if not running:
            raise ConfigError(f"unable to find target container {name}")
        return max(running, key=lambda c: c.attempt).id

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

    async def stop(self, action: StopContainer) -> None:
        """Run a container's preStop hook and stop it."""
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

    def _address(self) -> str:
        addresses = self._memory.addresses or self._context.host.addresses
        return addresses[0] if addresses else "127.0.0.1"
