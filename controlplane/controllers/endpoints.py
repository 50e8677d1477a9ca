"""The Endpoints controller: the same as EndpointSlices in one object, for clients that still read the old kind.

Pure. Behaviour: Kubernetes' pkg/controller/endpoint and pkg/api/v1/endpoints/util.go (subsets are merged by ports).
Not done: the annotation last-change-trigger-time.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from controlplane.controllers import pods
from controlplane.controllers import service_backends as backends
from mesh.objects.kinds import ENDPOINTS, SERVICES
from mesh.objects.meta import Key, annotations_of, is_deleting, key_of, labels_of, thaw, uid_of
from mesh.objects.types import Object
from mesh.plan.actions import NOTHING, Create, Delete, Plan, Update
from mesh.plan.controller import Caches, Observed, Watch

MOST_ADDRESSES = 1000
_MANAGED_BY = "endpoints.kubernetes.io/managed-by"
_MANAGER = "endpoint-controller"
_HEADLESS = "service.kubernetes.io/headless"
_OVER_CAPACITY = "endpoints.kubernetes.io/over-capacity"


def _wake_service(endpoints: Object, _caches: Caches) -> Iterable[Key]:
    """The Service of the same name, for Endpoints of ours."""
    return (key_of(endpoints),) if labels_of(endpoints).get(_MANAGED_BY) == _MANAGER else ()


class EndpointsController:
    """Keeps the Endpoints object of every Service that selects pods, and removes it with the Service."""

    name = "endpoint-controller"
    watches: Sequence[Watch] = (
        backends.WATCH_SERVICES,
        backends.WATCH_PODS,
        Watch(ENDPOINTS, _wake_service),
    )

    def plan(self, key: Key, observed: Observed) -> Plan:
        """Create, replace or delete the one object."""
        service = observed.caches[SERVICES].get(key)
        existing = observed.caches[ENDPOINTS].get(key)
        if service is None or is_deleting(service):
            if existing is None or not _wake_service(existing, observed.caches):
                return NOTHING
            return Plan((Delete(ENDPOINTS, key, uid_of(existing)),))
        if not backends.has_backends(service):
            return NOTHING
        subsets, truncated = _subsets(service, observed.caches)
        labels = backends.service_labels(service, headless=_HEADLESS) | {_MANAGED_BY: _MANAGER}
        if existing is None:
            meta: Object = {"namespace": key.namespace, "name": key.name, "labels": labels}
            if truncated:
                meta["annotations"] = {_OVER_CAPACITY: "truncated"}
            new: Object = {"apiVersion": "v1", "kind": "Endpoints", "metadata": meta}
            return Plan((Create(ENDPOINTS, new | ({"subsets": subsets} if subsets else {})),))
        return _replace(existing, subsets, labels, truncated=truncated)


def _replace(existing: Object, subsets: list[Object], labels: dict[str, str], *, truncated: bool) -> Plan:
    annotations = {k: v for k, v in annotations_of(existing).items() if k != _OVER_CAPACITY}
    if truncated:
        annotations[_OVER_CAPACITY] = "truncated"
    same = (existing.get("subsets") or []) == subsets
    if same and labels_of(existing) == labels and annotations_of(existing) == annotations:
        return NOTHING
    new = thaw(existing)
    new["subsets"] = subsets
    new["metadata"]["labels"] = labels
    new["metadata"]["annotations"] = annotations
    return Plan((Update(ENDPOINTS, new),))


def _subsets(service: Object, caches: Caches) -> tuple[list[Object], bool]:
    """The addresses by equal ports, and whether some had to be left out."""
    publish = bool(service["spec"].get("publishNotReadyAddresses"))
    family = backends.families(service)[0]
    found: list[tuple[bool, tuple[backends.Port, ...], Object]] = []
    for pod in backends.selected_pods(service, caches, include_terminating=publish):
        address = backends.address_of(pod, family)
        ports = backends.target_ports(service, pod)
        if address is not None and (ports or backends.is_headless(service)):
            found.append((publish or pods.is_ready(pod), ports, _address(service, pod, address)))
    truncated = len(found) > MOST_ADDRESSES
    if truncated:
        # Ready addresses are the last to be left out.
        found = sorted(found, key=lambda entry: not entry[0])[:MOST_ADDRESSES]
    subsets: list[Object] = []
    for ports in sorted({entry[1] for entry in found}):
        subset: Object = {}
        for name, wanted in (("addresses", True), ("notReadyAddresses", False)):
            here = [address for ready, own, address in found if own == ports and ready is wanted]
            if here:
                subset[name] = sorted(here, key=lambda address: str(address["ip"]))
        if ports:
            subset["ports"] = [backends.port_object(port) for port in ports]
            for port in subset["ports"]:
                if not port["name"]:
                    del port["name"]
        subsets.append(subset)
    return subsets, truncated


def _address(service: Object, pod: Object, address: str) -> Object:
    made: Object = {"ip": address}
    if hostname := backends.hostname_of(service, pod):
        made["hostname"] = hostname
    if node := pod["spec"].get("nodeName"):
        made["nodeName"] = node
    return made | {"targetRef": backends.pod_reference(pod)}
