"""Gives Services their cluster addresses and node ports: which ones, and reserved (`reservations.py`) before they are
written."""

from __future__ import annotations

import ipaddress
import random
from collections.abc import Iterable, Iterator

from controlplane.apiserver import serviceports
from controlplane.apiserver.reservations import ADDRESSES, PORTS, Reservation, Reservations, Taken, given_up
from controlplane.apiserver.serviceports import HEADLESS, Network, Range
from controlplane.apiserver.strategies.strategy import invalid
from mesh.config import NetworkConfig
from mesh.errors import Cause, Invalid
from mesh.objects.kinds import SERVICES, Resource
from mesh.objects.meta import uid_of
from mesh.objects.types import Object

_AT_RANDOM = 32
"""How many addresses or ports are tried at random before they are tried in order."""


class Claim:
    """What one write of a Service reserved, and what it gives up when it succeeds."""

    def __init__(
        self, reservations: Reservations, uid: str, taken: list[Taken], freed_after: list[Reservation]
    ) -> None:
        self._reservations = reservations
        self._uid = uid
        self._taken = taken
        self._freed_after = freed_after

    async def release(self) -> None:
        """The write failed: give back what it reserved."""
        await self._reservations.give_back(self._taken)

    async def settle(self) -> None:
        """The write succeeded: free what the Service no longer has."""
        await self._reservations.free(self._uid, self._freed_after)


class Allocation:
    """The addresses of the service network and the node ports, as reserved in the store."""

    def __init__(self, reservations: Reservations, network: NetworkConfig, rng: random.Random) -> None:
        self._reservations = reservations
        self._rng = rng
        self._networks: list[Network] = [ipaddress.ip_network(cidr) for cidr in network.service_cidrs]
        self._range = Range(network.node_port_min, network.node_port_max)
        self._kept = {str(self._networks[0][1]), network.dns_address}
        self._nothing = Claim(reservations, "", [], [])

    async def claim(self, resource: Resource, new: Object, old: Object | None, *, dry_run: bool) -> Claim:
        """Complete a Service that is about to be written, in place, and reserve what it needs; other kinds pass.

        Raises `Invalid` when an address or port cannot be had; nothing is reserved then.
        """
        if resource is not SERVICES or not isinstance(new.get("spec"), dict):
            return self._nothing
        if old is not None:
            serviceports.keep_allocated(new, old)
        serviceports.drop_unneeded(new)
        taken: list[Taken] = []
        try:
            await self._claim_address(new, old, taken, dry_run=dry_run)
            await self._claim_ports(new, old, taken, dry_run=dry_run)
        except BaseException:
            await self._reservations.give_back(taken)
            raise
        return Claim(self._reservations, uid_of(new), taken, given_up(new, old))

    async def freed(self, service: Object) -> None:
        """The Service is deleted: free all it had."""
        await self._reservations.free(uid_of(service), given_up(None, service))

    # Addresses

    async def _claim_address(self, new: Object, old: Object | None, taken: list[Taken], *, dry_run: bool) -> None:
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
            if not await self._reservations.reserve(ADDRESSES, wanted, new, taken, dry_run=dry_run):
                cause = serviceports.address_refused(wanted, "provided IP is already allocated")
                raise _refused(new, cause)
        spec["clusterIP"] = wanted
        spec.setdefault("clusterIPs", [wanted])
        spec.setdefault("ipFamilies", ["IPv6" if ":" in wanted else f"IPv{self._networks[0].version}"])
        spec.setdefault("ipFamilyPolicy", "SingleStack")

    async def _any_address(self, service: Object, taken: list[Taken], *, dry_run: bool) -> str:
        network = self._networks[0]
        size = min(network.num_addresses, 1 << 16)
        # The lowest addresses are left to those who ask for one by name, as Kubernetes does.
        first = min(max(16, size // 16), 256) if size > 32 else 1
        offsets = _spread(self._rng, first, size - 1)
        for offset in (*offsets, *range(1, first)):
            address = str(network[offset])
            if address in self._kept:
                continue
            if await self._reservations.reserve(ADDRESSES, address, service, taken, dry_run=dry_run):
                return address
        told = f"Invalid value: []: failed to allocate a serviceIP: range is full ({network})"
        raise _refused(service, Cause("spec.clusterIPs", "FieldValueInvalid", told))

    # Ports

    async def _claim_ports(self, new: Object, old: Object | None, taken: list[Taken], *, dry_run: bool) -> None:
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

    async def _this_port(self, service: Object, field: str, number: int, taken: list[Taken], *, dry_run: bool) -> None:
        cause = serviceports.check_port(field, number, self._range)
        if cause is None and not await self._reservations.reserve(PORTS, str(number), service, taken, dry_run=dry_run):
            cause = serviceports.port_refused(field, number, "provided port is already allocated")
        if cause is not None:
            raise _refused(service, cause)

    async def _any_port(self, service: Object, field: str, taken: list[Taken], *, dry_run: bool) -> int:
        low, high = self._range.low, self._range.high
        size = high - low + 1
        first = low + (min(max(16, size // 32), 128) if size > 32 else 0)
        numbers: Iterable[int] = (*_spread(self._rng, first, high + 1), *range(low, first))
        for number in numbers:
            if await self._reservations.reserve(PORTS, str(number), service, taken, dry_run=dry_run):
                return number
        told = f"Invalid value: 0: failed to allocate a nodePort: range is full ({self._range})"
        raise _refused(service, Cause(field, "FieldValueInvalid", told))


def _refused(service: Object, cause: Cause) -> Invalid:
    return invalid(SERVICES, service["metadata"].get("name", ""), [cause])


def _spread(rng: random.Random, low: int, high: int) -> Iterator[int]:
    """Numbers from `low` up to `high` (excluded): a few at random, then all of them from a random start."""
    if high <= low:
        return
    for _ in range(_AT_RANDOM):
        yield rng.randrange(low, high)
    start = rng.randrange(low, high)
    yield from range(start, high)
    yield from range(low, start)
