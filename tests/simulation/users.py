"""Those who use the cluster, with what kubectl does: over the bus, each with doubts about every request that fails.

Two of them do one thing after the other, drawn from the seed; the keeper sees to it that two exclusive pods exist, as a
StatefulSet would.
"""

from __future__ import annotations

import asyncio
import itertools
import random
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from mesh.bus.api_client import BusTransport
from mesh.client.client import Client
from mesh.errors import ApiError, BadRequest, InternalError, Invalid, NotFound
from mesh.objects.kinds import DEPLOYMENTS, NODES, PODS, SERVICES, Resource
from mesh.objects.meta import key_of, name_of, thaw, uid_of
from mesh.objects.types import Object
from tests.simulation import manifests
from tests.simulation.process import Process, ProcessBus

if TYPE_CHECKING:
    from tests.simulation.world import World

NAMESPACE = "default"
MOST_DEPLOYMENTS = 4
EXCLUSIVE = ("db-0", "db-1")


class User:
    """One client. `rng` decides what it does."""

    def __init__(self, world: World, identity: str) -> None:
        self._world = world
        self._name = identity.removeprefix("U").lower()
        self._rng: random.Random = world.rng(self._name)
        bus = world.broker.connect(identity)
        self._process = Process(self._name, bus.close)
        self._client = Client(BusTransport(ProcessBus(bus, self._process), timeout=6.0), user_agent="kubectl")
        self._numbers = itertools.count(1)
        self.done = False
        self._deeds: list[tuple[int, Callable[[], Awaitable[None]]]] = [
            (4, self._create_deployment),
            (6, self._scale),
            (6, self._change_image),
            (3, self._roll_back),
            (3, self._annotate),
            (1, self._delete_deployment),
            (2, self._create_service),
            (1, self._delete_service),
            (2, self._create_pod),
            (1, self._delete_pod),
            (2, self._cordon),
            (1, self._remove_node),
        ]

    def start(self, work: Callable[[], Awaitable[None]]) -> None:
        """Begin with `work`, which is one of the three below."""
        self._process.spawn(self._guarded(work))

    async def stop(self) -> None:
        """Leave."""
        await self._process.kill()

    async def _guarded(self, work: Callable[[], Awaitable[None]]) -> None:
        try:
            await work()
            self.done = True
        except Exception as error:  # noqa: BLE001 - a fault of the simulation itself must not pass unseen
            self._world.fail("The simulation's own parts work.", f"{self._name}: {error!r}", error)

    async def do_things(self) -> None:
        """One thing after the other, for ever."""
        weights = [weight for weight, _ in self._deeds]
        while True:
            await asyncio.sleep(self._rng.uniform(0.1, 2.0))
            (_, deed), *_ = self._rng.choices(self._deeds, weights)
            await self._try(deed())

    async def keep(self) -> None:
        """See to it that the exclusive pods are there, for ever."""
        while True:
            for name in EXCLUSIVE:
                await self._try(self._keep_one(name))
            await asyncio.sleep(self._rng.uniform(0.3, 1.0))

    async def uncordon_all(self) -> None:
        """Make every node take pods again, however often it has to be asked for."""
        while any(node["spec"].get("unschedulable") for node in self._world.history.objects(NODES)):
            for node in self._world.history.objects(NODES):
                patch = {"spec": {"unschedulable": None}}
                await self._try(self._client.patch(NODES, name_of(node), "", patch))
            await asyncio.sleep(1.0)

    async def _try(self, deed: Awaitable[object]) -> None:
        """One deed: a refusal is noted, a request that is answered with a fault of the server's is not to be."""
        try:
            await deed
        except (Invalid, BadRequest, InternalError) as error:
            self._world.fail("Every request is understood, and none meets a fault of the server's.", str(error), error)
        except ApiError as error:
            self._world.trace.note(self._name, f"refused: {error}"[:160])

    def _note(self) -> tuple[str, Object]:
        """An annotation that nobody else makes."""
        name = f"ledger/{self._name}-{next(self._numbers)}"
        return name, {"metadata": {"annotations": {name: "x"}}}

    def _acknowledge(self, resource: Resource, answer: Object, note: str) -> None:
        self._world.trace.note(self._name, f"was told {resource.singular} {name_of(answer)} has {note}")
        self._world.ledger.acknowledged(resource, answer, note)

    async def _create(self, resource: Resource, obj: Object) -> None:
        note, mark = self._note()
        annotations = {**(obj["metadata"].get("annotations") or {}), **mark["metadata"]["annotations"]}
        obj["metadata"] |= {"namespace": NAMESPACE, "annotations": annotations}
        self._acknowledge(resource, await self._client.create(resource, obj), note)

    async def _patch(self, resource: Resource, name: str, change: Object) -> None:
        note, mark = self._note()
        answer = await self._client.patch(resource, name, NAMESPACE, {**mark, **change})
        self._acknowledge(resource, answer, note)

    async def _delete(self, resource: Resource, obj: Object) -> None:
        self._world.ledger.asked_to_delete.add(uid_of(obj))
        self._world.trace.note(self._name, f"deletes {resource.singular} {name_of(obj)}")
        await self._client.delete(resource, name_of(obj), NAMESPACE, uid=uid_of(obj))

    async def _any(self, resource: Resource) -> Object:
        """One of those there are, or `NotFound`."""
        listing = await self._client.list(resource, NAMESPACE if resource.namespaced else "")
        found = [obj for obj in listing.items if name_of(obj) not in {"kubernetes", *EXCLUSIVE}]
        if resource is PODS:
            found = [obj for obj in found if not obj["metadata"].get("ownerReferences")]
        if not found:
            raise NotFound(f"no {resource.plural} yet")
        return self._rng.choice(sorted(found, key=name_of))

    # Deeds

    async def _create_deployment(self) -> None:
        name = f"web-{self._rng.randrange(MOST_DEPLOYMENTS)}"
        await self._create(DEPLOYMENTS, manifests.deployment(name, self._rng))

    async def _scale(self) -> None:
        deployment = await self._any(DEPLOYMENTS)
        await self._patch(DEPLOYMENTS, name_of(deployment), {"spec": {"replicas": self._rng.randrange(7)}})

    async def _change_image(self) -> None:
        deployment = await self._any(DEPLOYMENTS)
        spec = thaw(deployment["spec"]["template"]["spec"])
        spec["containers"][0]["image"] = f"web:{self._rng.randrange(5)}"
        await self._patch(
            DEPLOYMENTS, name_of(deployment), {"spec": {"template": {"spec": {"containers": spec["containers"]}}}}
        )

    async def _roll_back(self) -> None:
        """To a template that it had before, as the API still shows it."""
        deployment = await self._any(DEPLOYMENTS)
        versions = self._world.history.versions(DEPLOYMENTS, key_of(deployment), uid_of(deployment))
        old = self._rng.choice([version.object for version in versions if version.object is not None])
        containers = old["spec"]["template"]["spec"]["containers"]
        await self._patch(
            DEPLOYMENTS, name_of(deployment), {"spec": {"template": {"spec": {"containers": containers}}}}
        )

    async def _annotate(self) -> None:
        """As `kubectl edit` does it: read, change, replace if it is still the same."""
        resource = self._rng.choice((DEPLOYMENTS, DEPLOYMENTS, SERVICES))
        obj = await self._any(resource)
        note, mark = self._note()
        obj["metadata"].setdefault("annotations", {}).update(mark["metadata"]["annotations"])
        await asyncio.sleep(self._rng.random())
        self._acknowledge(resource, await self._client.update(resource, obj), note)

    async def _delete_deployment(self) -> None:
        await self._delete(DEPLOYMENTS, await self._any(DEPLOYMENTS))

    async def _create_service(self) -> None:
        await self._create(SERVICES, manifests.service(f"web-{self._rng.randrange(MOST_DEPLOYMENTS)}"))

    async def _delete_service(self) -> None:
        await self._delete(SERVICES, await self._any(SERVICES))

    async def _create_pod(self) -> None:
        await self._create(PODS, manifests.pod(f"bare-{self._rng.randrange(4)}"))

    async def _delete_pod(self) -> None:
        await self._delete(PODS, await self._any(PODS))

    async def _cordon(self) -> None:
        node = await self._any(NODES)
        unschedulable = not node["spec"].get("unschedulable") and self._rng.random() < 0.5
        patch = {"spec": {"unschedulable": unschedulable or None}}
        await self._client.patch(NODES, name_of(node), "", patch)
        self._world.trace.note(self._name, f"{'cordons' if unschedulable else 'uncordons'} {name_of(node)}")

    async def _remove_node(self) -> None:
        """The Node object only: an agent that lives registers again."""
        node = await self._any(NODES)
        self._world.trace.note(self._name, f"removes node {name_of(node)}")
        await self._client.delete(NODES, name_of(node), uid=uid_of(node))

    # The keeper's part

    async def _keep_one(self, name: str) -> None:
        try:
            pod = await self._client.get(PODS, name, NAMESPACE)
        except NotFound:
            await self._create(PODS, manifests.pod(name, exclusive=True))
            return
        ended = (pod.get("status") or {}).get("phase") in {"Failed", "Succeeded"}
        if "deletionTimestamp" not in pod["metadata"] and (ended or self._rng.random() < 0.02):
            await self._delete(PODS, pod)
