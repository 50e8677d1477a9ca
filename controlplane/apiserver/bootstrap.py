"""The objects that every cluster has, made at start and kept: system namespaces, and the `kubernetes` Service.

Level-triggered: `Bootstrap.ensure` reads what there is and writes only what is missing or different.
"""

from __future__ import annotations

import asyncio
import ipaddress
import logging
from collections.abc import Iterable
from datetime import datetime

from controlplane.apiserver.cached import Item
from controlplane.apiserver.registry import Registry
from controlplane.apiserver.routes import Route
from controlplane.apiserver.strategies.ip_validation import validate_backend_ip
from controlplane.apiserver.writes import Change, Writes
from mesh.clock import Clock
from mesh.config import ServerConfig
from mesh.errors import AlreadyExists, CoveyError
from mesh.objects.kinds import ENDPOINTS, ENDPOINTSLICES, LEASES, NAMESPACES, SERVICES, Resource
from mesh.objects.meta import format_micro_time, labels_of, parse_time
from mesh.objects.types import Object

log = logging.getLogger(__name__)

SYSTEM_NAMESPACES = ("default", "kube-system", "kube-public", "kube-node-lease")
INTERVAL = 10.0
"""Seconds between two looks."""
LEASE_SECONDS = 30
"""After this many seconds without renewal an API server is taken out of the `kubernetes` Service."""
IDENTITY = "apiserver.kubernetes.io/identity"
_NAME = "kubernetes"
_NAMESPACE = "default"


def namespace(name: str) -> Object:
    """A system namespace."""
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}


def service(config: ServerConfig, port: int) -> Object:
    """The Service by which pods reach the API."""
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {
            "name": _NAME,
            "namespace": _NAMESPACE,
            "labels": {"component": "apiserver", "provider": "kubernetes"},
        },
        "spec": {
            "type": "ClusterIP",
            "clusterIP": str(ipaddress.ip_network(config.network.service_cidrs[0])[1]),
            "ports": [{"name": "https", "port": 443, "protocol": "TCP", "targetPort": port}],
        },
    }


def dns_service(config: ServerConfig) -> Object:
    """The address of cluster DNS, reserved and visible. Every node's agent answers there itself, so that the Service has
    neither selector nor endpoints, and its label tells the proxy to leave it alone."""
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {
            "name": "kube-dns",
            "namespace": "kube-system",
            "labels": {
                "k8s-app": "kube-dns",
                "kubernetes.io/name": "CoreDNS",
                "service.kubernetes.io/service-proxy-name": "covey",
            },
        },
        "spec": {
            "type": "ClusterIP",
            "clusterIP": config.network.dns_address,
            "ports": [
                {"name": "dns", "port": 53, "protocol": "UDP", "targetPort": 53},
                {"name": "dns-tcp", "port": 53, "protocol": "TCP", "targetPort": 53},
            ],
        },
    }


def endpoints(addresses: list[str], port: int) -> Object:
    """Where API servers listen, in the older form."""
    return {
        "apiVersion": "v1",
        "kind": "Endpoints",
        "metadata": {
            "name": _NAME,
            "namespace": _NAMESPACE,
            "labels": {"endpointslice.kubernetes.io/skip-mirror": "true"},
        },
        "subsets": [
            {
                "addresses": [{"ip": address} for address in addresses],
                "ports": [{"name": "https", "port": port, "protocol": "TCP"}],
            }
        ],
    }


def endpoint_slice(addresses: list[str], port: int) -> Object:
    """Where API servers listen."""
    return {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {
            "name": _NAME,
            "namespace": _NAMESPACE,
            "labels": {"kubernetes.io/service-name": _NAME},
        },
        "addressType": f"IPv{ipaddress.ip_address(addresses[0]).version}",
        "endpoints": [{"addresses": [address], "conditions": {"ready": True}} for address in addresses],
        "ports": [{"name": "https", "port": port, "protocol": "TCP"}],
    }


def server_lease(address: str, now: datetime) -> Object:
    """The sign of life of the API server at `address`, as kube-apiserver keeps one for its identity."""
    return {
        "apiVersion": "coordination.k8s.io/v1",
        "kind": "Lease",
        "metadata": {
            "name": f"apiserver-{address.replace(':', '-')}",
            "namespace": "kube-system",
            "labels": {IDENTITY: "kube-apiserver"},
        },
        "spec": {
            "holderIdentity": address,
            "leaseDurationSeconds": LEASE_SECONDS,
            "renewTime": format_micro_time(now),
        },
    }


def live_addresses(leases: Iterable[Object], now: datetime) -> list[str]:
    """The addresses of the API servers whose lease has not run out. Leases are written by others too: one that holds no
    address is none of a server's."""
    found = set()
    for lease in leases:
        spec = lease.get("spec") or {}
        if labels_of(lease).get(IDENTITY) == "kube-apiserver" and spec.get("renewTime") and spec.get("holderIdentity"):
            age = now - parse_time(spec["renewTime"])
            alive = age.total_seconds() < (spec.get("leaseDurationSeconds") or 0)
            if alive and not validate_backend_ip(spec["holderIdentity"], "spec.holderIdentity"):
                found.add(spec["holderIdentity"])
    return sorted(found)


class Bootstrap:
    """Keeps these objects as they should be."""

    def __init__(self, config: ServerConfig, port: int, registry: Registry, writes: Writes, clock: Clock) -> None:
        """`port` is where the server really listens."""
        self._config = config
        self._port = port
        self._registry = registry
        self._writes = writes
        self._clock = clock

    async def keep(self) -> None:
        """Look again and again, until cancelled."""
        while True:
            await asyncio.sleep(INTERVAL)
            try:
                await self.ensure()
            except CoveyError as error:
                log.warning("the cluster's own objects could not be checked, trying again: %s", error)

    async def ensure(self) -> None:
        """Make what is missing, correct what differs."""
        for name in SYSTEM_NAMESPACES:
            await self._present(NAMESPACES, namespace(name))
        await self._present(SERVICES, service(self._config, self._port))
        await self._present(SERVICES, dns_service(self._config))
        mine = self._config.advertise_address
        if ipaddress.ip_address(mine).is_loopback:
            return  # no pod could reach it there, and endpoints on loopback are not valid
        now = self._clock.now()
        await self._equal(LEASES, server_lease(mine, now), ("spec",))
        leases = [item.object for item in self._registry.objects(LEASES).ordered("kube-system")]
        addresses = live_addresses(leases, now) or [mine]
        await self._equal(ENDPOINTS, endpoints(addresses, self._port), ("subsets",))
        await self._equal(ENDPOINTSLICES, endpoint_slice(addresses, self._port), ("addressType", "endpoints", "ports"))

    async def _present(self, resource: Resource, wanted: Object) -> bool:
        """Whether it was there already."""
        metadata = wanted["metadata"]
        if await self._registry.current(resource, metadata.get("namespace", ""), metadata["name"]) is not None:
            return True
        try:
            await self._writes.create_object(resource, wanted)
        except AlreadyExists:
            return True  # another server was faster
        return False

    async def _equal(self, resource: Resource, wanted: Object, fields: tuple[str, ...]) -> None:
        metadata = wanted["metadata"]
        if not await self._present(resource, wanted):
            return
        route = Route(resource, "update", metadata["namespace"], metadata["name"])
        parts = {field: wanted[field] for field in fields}

        def corrected(item: Item) -> Object:
            obj = item.object
            return {**obj, **parts, "metadata": dict(obj["metadata"])}

        await self._writes.change(Change(route, corrected))
