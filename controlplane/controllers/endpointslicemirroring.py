"""The EndpointSlice mirroring controller: what people write into the Endpoints of a Service that selects no pods.

Proxies and DNS read slices only. Pure. Behaviour: Kubernetes' pkg/controller/endpointslicemirroring, and
https://kubernetes.io/docs/concepts/services-networking/endpoint-slices/#endpointslice-mirroring.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import zip_longest

from controlplane.controllers import service_backends as backends
from controlplane.controllers.endpointslice import MANAGED_BY, SERVICE_NAME
from mesh.objects.kinds import ENDPOINTS, ENDPOINTSLICES, SERVICES
from mesh.objects.meta import (
    Key,
    annotations_of,
    is_deleting,
    key_of,
    labels_of,
    name_of,
    namespace_of,
    owner_reference,
    uid_of,
)
from mesh.objects.types import Json, Object
from mesh.plan.actions import Action, Create, Delete, Plan, Update
from mesh.plan.controller import Caches, Observed, Watch, itself

MANAGER = "endpointslicemirroring-controller.k8s.io"
MOST_ENDPOINTS = 1000
_SKIP = "endpointslice.kubernetes.io/skip-mirror"
_LEADER = "control-plane.alpha.kubernetes.io/leader"
_NOT_COPIED = frozenset(
    {"kubectl.kubernetes.io/last-applied-configuration", "endpoints.kubernetes.io/last-change-trigger-time"}
)
_BY_SERVICE = "mirrored service"


def _service_of(slice_: Object) -> Iterable[str]:
    """Index: the Service a mirrored slice belongs to, as "namespace/name"."""
    found = labels_of(slice_)
    if found.get(MANAGED_BY) == MANAGER and found.get(SERVICE_NAME):
        yield f"{namespace_of(slice_)}/{found[SERVICE_NAME]}"


def _wake_service(slice_: Object, _caches: Caches) -> Iterable[Key]:
    return (Key(*mark.split("/", 1)) for mark in _service_of(slice_))


class EndpointSliceMirroringController:
    """Keeps slices that say the same as Endpoints written by hand."""

    name = "endpoint-slice-mirroring-controller"
    watches: Sequence[Watch] = (
        Watch(SERVICES, itself),
        Watch(ENDPOINTS, itself),
        Watch(ENDPOINTSLICES, _wake_service, {_BY_SERVICE: _service_of}),
    )

    def plan(self, key: Key, observed: Observed) -> Plan:
        """The difference between the slices there are and those there should be."""
        caches = observed.caches
        endpoints = caches[ENDPOINTS].get(key)
        wanted = (
            _slices(endpoints) if endpoints is not None and _is_mirrored(endpoints, caches[SERVICES].get(key)) else []
        )
        existing = [s for s in caches[ENDPOINTSLICES].index(_BY_SERVICE, str(key)) if not is_deleting(s)]
        actions: list[Action] = []
        for family in ("IPv4", "IPv6"):
            here = [slice_ for slice_ in existing if slice_["addressType"] == family]
            actions += _fit(here, [new for new in wanted if new["addressType"] == family])
        return Plan(tuple(actions))


def _fit(existing: Sequence[Object], wanted: list[Object]) -> list[Action]:
    """The writes for one family. A slice that says something that is wanted is left alone, the others are rewritten."""
    missing, free = list(wanted), []
    for slice_ in sorted(existing, key=key_of):
        same = next((new for new in missing if _says(new) == _says(slice_)), None)
        if same is None:
            free.append(slice_)
        else:
            missing.remove(same)
    actions: list[Action] = []
    for slice_, new in zip_longest(free, missing):
        if new is None:
            actions.append(Delete(ENDPOINTSLICES, key_of(slice_), uid_of(slice_)))
        elif slice_ is None:
            actions.append(Create(ENDPOINTSLICES, new))
        else:
            actions.append(Update(ENDPOINTSLICES, _rewritten(slice_, new)))
    return actions


def _is_mirrored(endpoints: Object, service: Object | None) -> bool:
    """Whether these Endpoints are somebody's own: their Service has none that controllers would fill in."""
    if service is None or is_deleting(service) or service["spec"].get("selector"):
        return False
    skipped = labels_of(endpoints).get(_SKIP) == "true" or _LEADER in annotations_of(endpoints)
    return not skipped and not is_deleting(endpoints)


def _slices(endpoints: Object) -> list[Object]:
    """The slices for all subsets, each of one family and at most 1000 endpoints."""
    made: list[Object] = []
    for subset in endpoints.get("subsets") or ():
        ports = [{"name": "", "protocol": "TCP", **port} for port in subset.get("ports") or ()]
        found = [
            _endpoint(address, ready=field == "addresses")
            for field in ("addresses", "notReadyAddresses")
            for address in subset.get(field) or ()
        ]
        for family in ("IPv4", "IPv6"):
            own = [e for e in found if (":" in e["addresses"][0]) == (family == "IPv6")]
            made += [_slice(endpoints, family, part, ports) for part in backends.chunks(own, MOST_ENDPOINTS)]
    return made


def _endpoint(address: Object, *, ready: bool) -> Object:
    copied: Object = {field: address[field] for field in ("hostname", "nodeName", "targetRef") if field in address}
    return {"addresses": [address["ip"]], "conditions": {"ready": ready}, **copied}


def _slice(endpoints: Object, family: str, part: list[Object], ports: list[Object]) -> Object:
    own = {SERVICE_NAME: name_of(endpoints), MANAGED_BY: MANAGER}
    annotations = {k: v for k, v in annotations_of(endpoints).items() if k not in _NOT_COPIED}
    return {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {
            "generateName": f"{name_of(endpoints)}-",
            "namespace": namespace_of(endpoints),
            "labels": {**labels_of(endpoints), **own},
            "ownerReferences": [owner_reference(endpoints)],
            **({"annotations": annotations} if annotations else {}),
        },
        "addressType": family,
        "endpoints": part,
        "ports": ports,
    }


def _says(slice_: Object) -> tuple[Json, ...]:
    """What a mirrored slice has from its Endpoints."""
    owners = slice_["metadata"].get("ownerReferences") or []
    return slice_.get("endpoints") or [], slice_.get("ports") or [], labels_of(slice_), annotations_of(slice_), owners


def _rewritten(slice_: Object, new: Object) -> Object:
    """The slice as it is, with what `new` says."""
    kept = {k: v for k, v in slice_["metadata"].items() if k != "annotations"}
    return {**slice_, "endpoints": new["endpoints"], "ports": new["ports"], "metadata": {**kept, **new["metadata"]}}
