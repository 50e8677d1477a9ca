"""What keeps two Services from getting the same address or node port: a key of its own in the store for each in use.

It is created with compare-and-set before the Service is written: two servers cannot both create it (Kubernetes does the
same with its IPAddress objects). The key names the Service by UID. It is deleted after the Service; a key that lost its
Service to a crash in between is found by `repair`.

The key names the Service by its name too, for a name is a Service's only once: what was reserved for a Service that never
came to be is taken over by the next one of that name, at once. So a server that died between the two writes holds up
nobody, and two servers that make the same Service at the same time do not refuse each other. Who took something over and
then fails gives it back as he found it: the one before him may be about to write his Service.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta

from controlplane.apiserver import serviceports
from controlplane.apiserver.cached import Item
from controlplane.apiserver.registry import Registry
from mesh.clock import Clock
from mesh.errors import CoveyError
from mesh.objects.kinds import SERVICES, Resource
from mesh.objects.meta import format_time, parse_time, thaw, uid_of
from mesh.objects.types import Object
from mesh.store.port import RevisionMismatch

log = logging.getLogger(__name__)

ADDRESSES = Resource("covey.dev", "v1", "ClusterAddress", "clusteraddresses", "clusteraddress", namespaced=False)
PORTS = Resource("covey.dev", "v1", "NodePort", "nodeports", "nodeport", namespaced=False)
RESERVATIONS = (ADDRESSES, PORTS)
"""Stored beside the objects of the API, and not served by it."""

ORPHANED = timedelta(minutes=1)
"""A reservation this old whose Service does not exist is left over."""
_TRIES = 32

Reservation = tuple[Resource, str]


@dataclass(frozen=True, slots=True)
class Taken:
    """A reservation that was made, at which revision, and the one that it took over."""

    resource: Resource
    name: str
    revision: int
    before: Object | None


class Reservations:
    """The reservations in the store."""

    def __init__(self, registry: Registry, clock: Clock) -> None:
        self._registry = registry
        self._clock = clock

    async def reserve(
        self, resource: Resource, name: str, service: Object, taken: list[Taken], *, dry_run: bool
    ) -> bool:
        """Whether `name` was free, and is now the Service's."""
        if any(each.name == name and each.resource is resource for each in taken):
            return False
        for _ in range(_TRIES):
            held = self._registry.known(resource, "", name)
            if held is not None and not await self._inherits(service, held.object):
                return False
            if dry_run:
                return True
            try:
                reservation = self._reservation(resource, name, service)
                made = await self._registry.write(resource, reservation, 0 if held is None else held.revision)
            except RevisionMismatch:
                await self._registry.cache(resource).catch_up()
                continue
            taken.append(Taken(resource, name, made.revision, None if held is None else held.object))
            return True
        return False

    async def _inherits(self, service: Object, reservation: Object) -> bool:
        """Whether a reservation was made for a Service of this name that is not there."""
        if reservation.get("serviceName") != _full_name(service):
            return False
        holder = await self._named(reservation)
        return holder is None or uid_of(holder) != reservation["service"]

    async def _named(self, reservation: Object) -> Object | None:
        """The Service of the name for which something was reserved, whatever its UID."""
        namespace, _, name = reservation.get("serviceName", "").partition("/")
        item = await self._registry.current(SERVICES, namespace, name) if name else None
        return None if item is None else item.object

    def _reservation(self, resource: Resource, name: str, service: Object) -> Object:
        return {
            "apiVersion": resource.api_version,
            "kind": resource.kind,
            "metadata": {"name": name, "creationTimestamp": format_time(self._clock.now())},
            "service": uid_of(service),
            "serviceName": _full_name(service),
        }

    async def give_back(self, taken: Iterable[Taken]) -> None:
        """Undo reservations, unless another has taken them over by now. Failure only delays it, as in `free`."""
        for each in taken:
            try:
                item = await self._registry.current(each.resource, "", each.name)
                if item is not None and item.revision == each.revision:
                    await self._let_go(each.resource, item, each.before)
            except CoveyError as error:
                log.warning("reservation of %s left to the next repair: %s", each.name, error)

    async def free(self, uid: str, reservations: Iterable[Reservation]) -> None:
        """Delete reservations of the Service with this UID; what another has by now stays. Failure only delays it:
        `repair` finds what is left."""
        for resource, name in reservations:
            try:
                item = await self._registry.current(resource, "", name)
                if item is not None and item.object["service"] == uid:
                    await self._let_go(resource, item, None)
            except CoveyError as error:
                log.warning("reservation of %s left to the next repair: %s", name, error)

    async def _let_go(self, resource: Resource, item: Item, before: Object | None) -> None:
        """End a reservation: it becomes that of the Service it was taken over from, if that has come to be, else what it
        was before."""
        name, holder = item.object["metadata"]["name"], await self._named(item.object)
        if (
            holder is not None
            and uid_of(holder) != item.object["service"]
            and (resource, name) in given_up(None, holder)
        ):
            before = self._reservation(resource, name, holder)
        if before is None:
            await self._registry.remove(resource, item)
        else:
            await self._registry.write(resource, thaw(before), item.revision)

    async def repair(self) -> None:
        """Delete reservations without a Service, and make those that Services lack. Run at start and now and then."""
        services = [item.object for item in self._registry.objects(SERVICES).ordered()]
        uids = {uid_of(service) for service in services}
        for resource in RESERVATIONS:
            for item in self._registry.objects(resource).ordered():
                age = self._clock.now() - parse_time(item.object["metadata"]["creationTimestamp"])
                if item.object["service"] not in uids and age > ORPHANED:
                    await self.free(item.object["service"], [(resource, item.object["metadata"]["name"])])
        for service in services:
            for resource, name in given_up(None, service):
                await self.reserve(resource, name, service, [], dry_run=False)


def given_up(new: Object | None, old: Object | None) -> list[Reservation]:
    """What `old` has and `new` has not."""
    ips = serviceports.addresses(old) - serviceports.addresses(new)
    numbers = serviceports.ports(old) - serviceports.ports(new)
    return [*((ADDRESSES, ip) for ip in sorted(ips)), *((PORTS, str(n)) for n in sorted(numbers))]


def _full_name(service: Object) -> str:
    metadata = service["metadata"]
    return f"{metadata['namespace']}/{metadata.get('name', '')}"
