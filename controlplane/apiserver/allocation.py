"""Gives Services their cluster addresses and node ports, safely with several API servers.

Each address and port in use has a key of its own in the store, created with compare-and-set before the Service is
written: two servers cannot both create it (Kubernetes does the same with its IPAddress objects). The key names the
Service by UID. It is deleted after the Service; a key that lost its Service to a crash in between is found by `repair`.

The key names the Service by its name too, for a name is a Service's only once: what was reserved for a Service that never
came to be is taken over by the next one of that name, at once. So a server that died between the two writes holds up
nobody, and two servers that make the same Service at the same time do not refuse each other.
"""

from __future__ import annotations

import ipaddress
import logging
import random
from collections.abc import Iterable, Iterator
from datetime import timedelta

from controlplane.apiserver import serviceports
from controlplane.apiserver.registry import Registry
from controlplane.apiserver.serviceports import HEADLESS, Network, Range
from controlplane.apiserver.strategies.strategy import invalid
from mesh.clock import Clock
from mesh.config import NetworkConfig
from mesh.errors import Cause, CoveyError, Invalid
from mesh.objects.kinds import SERVICES, Resource
from mesh.objects.meta import format_time, parse_time, uid_of
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


class Claim:
    """What one write of a Service reserved, and what it gives up when it succeeds."""

    def __init__(self, allocation: Allocation, uid: str, taken: list[Reservation], given_up: list[Reservation]) -> None:
        self._allocation = allocation
        self._uid = uid
        self._taken = taken
        self._given_up = given_up

    async def release(self) -> None:
        """The write failed: give back what it reserved."""
        await self._allocation.free(self._uid, self._taken)

    async def settle(self) -> None:
        """The write succeeded: free what the Service no longer has."""
        await self._allocation.free(self._uid, self._given_up)


class Allocation:
    """The addresses of the service network and the node ports, as reserved in the store."""

    def __init__(self, registry: Registry, network: NetworkConfig, clock: Clock, rng: random.Random) -> None:
        self._registry = registry
        self._clock = clock
        self._rng = rng
        self._networks: list[Network] = [ipaddress.ip_network(cidr) for cidr in network.service_cidrs]
        self._range = Range(network.node_port_min, network.node_port_max)
        self._kept = {str(self._networks[0][1]), network.dns_address}
        self._nothing = Claim(self, "", [], [])

    async def claim(self, resource: Resource, new: Object, old: Object | None, *, dry_run: bool) -> Claim:
        """Complete a Service that is about to be written, in place, and reserve what it needs; other kinds pass.

        Raises `Invalid` when an address or port cannot be had; nothing is reserved then.
        """
        if resource is not SERVICES or not isinstance(new.get("spec"), dict):
            return self._nothing
        if old is not None:
            serviceports.keep_allocated(new, old)
        serviceports.drop_unneeded(new)
        taken: list[Reservation] = []
        try:
            await self._claim_address(new, old, taken, dry_run=dry_run)
            await self._claim_ports(new, old, taken, dry_run=dry_run)
        except BaseException:
            await self.free(uid_of(new), taken)
            raise
        return Claim(self, uid_of(new), taken, _given_up(new, old))

    async def freed(self, service: Object) -> None:
        """The Service is deleted: free all it had."""
        await self.free(uid_of(service), _given_up(None, service))

    # Addresses

    async def _claim_address(self, new: Object, old: Object | None, taken: list[Reservation], *, dry_run: bool) -> None:
        if not serviceports.needs_address(new):
            return
        spec = new["spec"]
        held = serviceports.addresses(old)
        wanted = spec.get("clusterIP") or next(iter(spec.get("clusterIPs") or ()), "")
        if not wanted:
            wanted = await self._any_address(new, taken, dry_run=dry_run)
        elif wanted != HEADLESS and wanted not in held:
            if cause := serviceports.check_address(wanted, self._networks):
                raise _refused(new, cause)
            if not await self._reserve(ADDRESSES, wanted, new, taken, dry_run=dry_run):
                cause = serviceports.address_refused(wanted, "provided IP is already allocated")
                raise _refused(new, cause)
        spec["clusterIP"] = wanted
        spec.setdefault("clusterIPs", [wanted])
        spec.setdefault("ipFamilies", ["IPv6" if ":" in wanted else f"IPv{self._networks[0].version}"])
        spec.setdefault("ipFamilyPolicy", "SingleStack")

    async def _any_address(self, service: Object, taken: list[Reservation], *, dry_run: bool) -> str:
        network = self._networks[0]
        size = min(network.num_addresses, 1 << 16)
        # The lowest addresses are left to those who ask for one by name, as Kubernetes does.
        first = min(max(16, size // 16), 256) if size > 32 else 1
        offsets = _spread(self._rng, first, size - 1)
        for offset in (*offsets, *range(1, first)):
            address = str(network[offset])
            if address in self._kept:
                continue
            if await self._reserve(ADDRESSES, address, service, taken, dry_run=dry_run):
                return address
        told = f"Invalid value: []: failed to allocate a serviceIP: range is full ({network})"
        raise _refused(service, Cause("spec.clusterIPs", "FieldValueInvalid", told))

    # Ports

    async def _claim_ports(self, new: Object, old: Object | None, taken: list[Reservation], *, dry_run: bool) -> None:
        spec, held = new["spec"], serviceports.ports(old)
        mine: set[int] = set()
        if serviceports.needs_ports(new):
            for index, port in enumerate(spec.get("ports") or ()):
                field = f"spec.ports[{index}].nodePort"
                number: int = port.get("nodePort") or self._shared(spec["ports"][:index], port)
                if not number:
                    number = await self._any_port(new, field, taken, dry_run=dry_run)
                elif number not in held and number not in mine:
                    await self._this_port(new, field, number, taken, dry_run=dry_run)
                port["nodePort"] = number
                mine.add(number)
        if serviceports.needs_health_port(new):
            field, number = "spec.healthCheckNodePort", spec.get("healthCheckNodePort")
            if not number:
                spec["healthCheckNodePort"] = await self._any_port(new, field, taken, dry_run=dry_run)
            elif number not in held:
                await self._this_port(new, field, number, taken, dry_run=dry_run)

    @staticmethod
    def _shared(before: list[Object], port: Object) -> int:
        """The same port over another protocol shares its node port."""
        for other in before:
            if other.get("port") == port.get("port") and other.get("protocol") != port.get("protocol"):
                return int(other.get("nodePort") or 0)
        return 0

    async def _this_port(
        self, service: Object, field: str, number: int, taken: list[Reservation], *, dry_run: bool
    ) -> None:
        cause = serviceports.check_port(field, number, self._range)
        if cause is None and not await self._reserve(PORTS, str(number), service, taken, dry_run=dry_run):
            cause = serviceports.port_refused(field, number, "provided port is already allocated")
        if cause is not None:
            raise _refused(service, cause)

    async def _any_port(self, service: Object, field: str, taken: list[Reservation], *, dry_run: bool) -> int:
        low, high = self._range.low, self._range.high
        size = high - low + 1
        first = low + (min(max(16, size // 32), 128) if size > 32 else 0)
        numbers: Iterable[int] = (*_spread(self._rng, first, high + 1), *range(low, first))
        for number in numbers:
            if await self._reserve(PORTS, str(number), service, taken, dry_run=dry_run):
                return number
        told = f"Invalid value: 0: failed to allocate a nodePort: range is full ({self._range})"
        raise _refused(service, Cause(field, "FieldValueInvalid", told))

    # Reservations

    async def _reserve(
        self, resource: Resource, name: str, service: Object, taken: list[Reservation], *, dry_run: bool
    ) -> bool:
        """Whether `name` was free, and is now the Service's."""
        for _ in range(_TRIES):
            held = self._registry.known(resource, "", name)
            if (resource, name) in taken or (held is not None and not await self._inherits(service, held.object)):
                return False
            if dry_run:
                return True
            try:
                reservation = self._reservation(resource, name, service)
                await self._registry.write(resource, reservation, 0 if held is None else held.revision)
            except RevisionMismatch:
                await self._registry.cache(resource).catch_up()
                continue
            taken.append((resource, name))
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

    async def free(self, uid: str, reservations: Iterable[Reservation]) -> None:
        """Delete reservations of the Service with this UID; what another has by now stays, and is handed to it if it was
        taken over from it. Failure only delays it: `repair` finds what is left."""
        for resource, name in reservations:
            try:
                item = await self._registry.current(resource, "", name)
                if item is None or item.object["service"] != uid:
                    continue
                holder = await self._named(item.object)
                if holder is not None and uid_of(holder) != uid and (resource, name) in _given_up(None, holder):
                    await self._registry.write(resource, self._reservation(resource, name, holder), item.revision)
                else:
                    await self._registry.remove(resource, item)
            except CoveyError as error:
                log.warning("reservation of %s left to the next repair: %s", name, error)

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
            for resource, name in _given_up(None, service):
                await self._reserve(resource, name, service, [], dry_run=False)


def _full_name(service: Object) -> str:
    metadata = service["metadata"]
    return f"{metadata['namespace']}/{metadata.get('name', '')}"


def _refused(service: Object, cause: Cause) -> Invalid:
    return invalid(SERVICES, service["metadata"].get("name", ""), [cause])


def _given_up(new: Object | None, old: Object | None) -> list[Reservation]:
    """What `old` has and `new` has not."""
    ips = serviceports.addresses(old) - serviceports.addresses(new)
    numbers = serviceports.ports(old) - serviceports.ports(new)
    return [*((ADDRESSES, ip) for ip in sorted(ips)), *((PORTS, str(n)) for n in sorted(numbers))]


def _spread(rng: random.Random, low: int, high: int) -> Iterator[int]:
    """Numbers from `low` up to `high` (excluded): a few at random, then all of them from a random start."""
    if high <= low:
        return
    for _ in range(_TRIES):
        yield rng.randrange(low, high)
    start = rng.randrange(low, high)
    yield from range(start, high)
    yield from range(low, start)
