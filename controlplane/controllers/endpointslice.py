"""The EndpointSlice controller: for each Service the addresses of its pods, in slices of at most 100.

Pure. Slices change as little as possible, since every proxy reads every change: an endpoint stays in its slice, new
ones fill slices that change anyway, then a slice with room, and only then a new one. Behaviour: Kubernetes'
staging/src/k8s.io/endpointslice/reconciler.go. Not done: topology hints, the annotation last-change-trigger-time.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from controlplane.controllers import pods
from controlplane.controllers import service_backends as backends
from mesh.objects.kinds import ENDPOINTSLICES, NODES, SERVICES
from mesh.objects.meta import Key, is_deleting, key_of, labels_of, name_of, namespace_of, owner_reference, thaw, uid_of
from mesh.objects.types import Object
from mesh.plan.actions import NOTHING, Action, Create, Delete, Plan, Update
from mesh.plan.controller import Caches, Observed, Watch

MOST_ENDPOINTS = 100
SERVICE_NAME = "kubernetes.io/service-name"
MANAGED_BY = "endpointslice.kubernetes.io/managed-by"
MANAGER = "endpointslice-controller.k8s.io"
_HEADLESS = "service.kubernetes.io/headless"
_ZONE = "topology.kubernetes.io/zone"
_BY_SERVICE = "service"

Group = tuple[str, tuple[backends.Port, ...]]
"""What endpoints of one slice have in common: the address family and the ports."""


def _service_of(slice_: Object) -> Iterable[str]:
    """Index: the Service a slice of ours belongs to, as "namespace/name"."""
    found = labels_of(slice_)
    if found.get(MANAGED_BY) == MANAGER and found.get(SERVICE_NAME):
        yield f"{namespace_of(slice_)}/{found[SERVICE_NAME]}"


def _wake_service(slice_: Object, _caches: Caches) -> Iterable[Key]:
    return (Key(*mark.split("/", 1)) for mark in _service_of(slice_))


class EndpointSliceController:
    """Keeps the slices of every Service that selects pods."""

    name = "endpoint-slice-controller"
    watches: Sequence[Watch] = (
        backends.WATCH_SERVICES,
        backends.WATCH_PODS,
        Watch(NODES, lambda _node, _caches: ()),
        Watch(ENDPOINTSLICES, _wake_service, {_BY_SERVICE: _service_of}),
    )

    def plan(self, key: Key, observed: Observed) -> Plan:
        """The difference between the slices there are and those there should be. Slices of a deleted Service are the
        garbage collector's."""
        caches = observed.caches
        service = caches[SERVICES].get(key)
        if service is None or is_deleting(service) or not backends.has_backends(service):
            return NOTHING
        wanted = _groups(service, caches)
        actions: list[Action] = []
        existing: dict[Group, list[Object]] = {group: [] for group in wanted}
        for slice_ in sorted(caches[ENDPOINTSLICES].index(_BY_SERVICE, str(key)), key=key_of):
            if is_deleting(slice_):
                continue
            group = _group_of(slice_)
            if group in existing:
                existing[group].append(slice_)
            else:
                actions.append(Delete(ENDPOINTSLICES, key_of(slice_), uid_of(slice_)))
        for group, endpoints in wanted.items():
            actions += _fit(service, group, endpoints, existing[group])
        return Plan(tuple(actions))


def _groups(service: Object, caches: Caches) -> dict[Group, dict[str, Object]]:
    """The endpoints that should exist by group, each by its pod's UID. Families without any keep one empty group, so
    that readers see that there are none."""
    wanted: dict[Group, dict[str, Object]] = {}
    for family in backends.families(service):
        for pod in backends.selected_pods(service, caches, include_terminating=True):
            address = backends.address_of(pod, family)
            if address is not None:
                group = (family, backends.target_ports(service, pod))
                wanted.setdefault(group, {})[uid_of(pod)] = _endpoint(service, pod, address, caches)
        if not any(group[0] == family for group in wanted):
            wanted[family, ()] = {}
    return wanted


def _endpoint(service: Object, pod: Object, address: str, caches: Caches) -> Object:
    """One endpoint. A terminating one is never ready, unless the Service wants unready ones published."""
    serving = pods.is_ready(pod)
    terminating = is_deleting(pod)
    ready = bool(service["spec"].get("publishNotReadyAddresses")) or (serving and not terminating)
    endpoint: Object = {
        "addresses": [address],
        "conditions": {"ready": ready, "serving": serving, "terminating": terminating},
        "targetRef": backends.pod_reference(pod),
    }
    if hostname := backends.hostname_of(service, pod):
        endpoint["hostname"] = hostname
    if node := pod["spec"].get("nodeName"):
        endpoint["nodeName"] = node
        found = caches[NODES].get(Key("", node))
        if found is not None and labels_of(found).get(_ZONE):
            endpoint["zone"] = labels_of(found)[_ZONE]
    return endpoint


def _fit(service: Object, group: Group, wanted: dict[str, Object], slices: Sequence[Object]) -> list[Action]:
    """Put the endpoints of one group into slices, moving none of those that are in one already."""
    missing = dict(wanted)
    contents: dict[str, list[Object]] = {}
    for slice_ in slices:
        kept = []
        for endpoint in slice_.get("endpoints") or ():
            new = missing.pop((endpoint.get("targetRef") or {}).get("uid", ""), None)
            if new is not None:
                kept.append(new)
        contents[name_of(slice_)] = kept
    rest = list(missing.values())
    for slice_ in slices:
        # A slice that is written anyway takes new endpoints at no cost.
        kept = contents[name_of(slice_)]
        if kept != (slice_.get("endpoints") or []) and kept:
            taken = MOST_ENDPOINTS - len(kept)
            kept += rest[:taken]
            rest = rest[taken:]
    if rest:
        fullest = max(
            (kept for kept in contents.values() if len(kept) + len(rest) <= MOST_ENDPOINTS), key=len, default=None
        )
        if fullest is not None:
            fullest += rest
            rest = []
    return _writes(service, group, slices, contents, rest)


def _writes(
    service: Object, group: Group, slices: Sequence[Object], contents: dict[str, list[Object]], rest: list[Object]
) -> list[Action]:
    """The writes that give each slice its content; of empty ones at most one stays, and only if all are empty."""
    actions: list[Action] = []
    occupied = bool(rest) or any(contents.values())
    labels = _labels(service)
    for number, slice_ in enumerate(slices):
        endpoints = contents[name_of(slice_)]
        if not endpoints and (occupied or number > 0):
            actions.append(Delete(ENDPOINTSLICES, key_of(slice_), uid_of(slice_)))
        elif endpoints != (slice_.get("endpoints") or []) or labels_of(slice_) != labels:
            new = thaw(slice_)
            new["endpoints"] = endpoints
            new["metadata"]["labels"] = labels
            actions.append(Update(ENDPOINTSLICES, new))
    new_contents = backends.chunks(rest, MOST_ENDPOINTS)
    if not slices and not rest:
        new_contents = [[]]
    return [*actions, *(Create(ENDPOINTSLICES, _new_slice(service, group, part)) for part in new_contents)]


def _new_slice(service: Object, group: Group, endpoints: list[Object]) -> Object:
    family, ports = group
    return {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {
            "generateName": f"{name_of(service)}-",
            "namespace": namespace_of(service),
            "labels": _labels(service),
            "ownerReferences": [owner_reference(service)],
        },
        "addressType": family,
        "endpoints": endpoints,
        "ports": [backends.port_object(port) for port in ports],
    }


def _labels(service: Object) -> dict[str, str]:
    own = {SERVICE_NAME: name_of(service), MANAGED_BY: MANAGER}
    return backends.service_labels(service, headless=_HEADLESS) | own


def _group_of(slice_: Object) -> Group:
    ports = [
        (p.get("name") or "", p.get("port") or 0, p.get("protocol") or "TCP", p.get("appProtocol") or "")
        for p in slice_.get("ports") or ()
    ]
    return slice_["addressType"], tuple(ports)
