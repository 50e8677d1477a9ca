"""The subresources that are no plain view of their object: binding, eviction, scale."""

from __future__ import annotations

from controlplane.apiserver import bodies, deletion, patching, refusals
from controlplane.apiserver.cached import Item
from controlplane.apiserver.deletes import Deletes
from controlplane.apiserver.registry import Registry
from controlplane.apiserver.render import Renderer
from controlplane.apiserver.routes import Route
from controlplane.apiserver.strategies.registry import strategy_for
from controlplane.apiserver.strategies.strategy import ScaleRule
from controlplane.apiserver.writes import ATTEMPTS, Change, Writes
from mesh.api.port import Request, Response
from mesh.clock import Clock
from mesh.errors import BadRequest, Cause, Conflict, Invalid
from mesh.objects import schema
from mesh.objects.kinds import Resource
from mesh.objects.meta import format_time
from mesh.objects.types import Object
from mesh.store.port import RevisionMismatch

SCALE = Resource("autoscaling", "v1", "Scale", "scales", "scale", namespaced=True)
_SUCCESS: Object = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201}


class Subresources:
    """Answers requests for binding, eviction and scale."""

    def __init__(self, registry: Registry, writes: Writes, deletes: Deletes, clock: Clock) -> None:
        self._registry = registry
        self._writes = writes
        self._deletes = deletes
        self._clock = clock

    # pods/binding

    async def bind(self, request: Request, route: Route, renderer: Renderer) -> Response:
        """Assign a pod to a node, once and for all: what a scheduler does."""
        binding, warnings = bodies.read(request, "v1", "Binding")
        bodies.match_name(binding, route)
        target = binding.get("target") or {}
        if target.get("kind", "Node") not in {"", "Node"} or not target.get("name"):
            told = "Required value" if not target.get("name") else f'Unsupported value: "{target["kind"]}"'
            field = "target.name" if not target.get("name") else "target.kind"
            raise Invalid(
                f'Binding "{route.name}" is invalid: {field}: {told}',
                name=route.name,
                kind="Binding",
                causes=[Cause(field, "FieldValueInvalid", told)],
            )
        for _ in range(ATTEMPTS):
            item = await self._registry.current(route.resource, route.namespace, route.name)
            if item is None:
                raise refusals.not_found(route.resource, route.name)
            try:
                await self._registry.write(route.resource, self._bound(item, binding), item.revision)
            except RevisionMismatch:
                await self._registry.cache(route.resource).catch_up()
                continue
            return renderer.value(_SUCCESS, status=201, headers=bodies.warning_headers(warnings))
        raise refusals.conflict(route.resource, route.name)

    def _bound(self, item: Item, binding: Object) -> Object:
        """The pod with its node; raises `Conflict` when it has one, or another UID than the binding expects."""
        pod, node = item.object, binding["target"]["name"]
        metadata, name = pod["metadata"], pod["metadata"]["name"]
        uid = (binding.get("metadata") or {}).get("uid") or ""
        if uid and uid != metadata["uid"]:
            raise _binding_conflict(
                name, f"Precondition failed: UID in precondition: {uid}, UID in object meta: {metadata['uid']}"
            )
        if "deletionTimestamp" in metadata:
            raise _binding_conflict(name, f"pod {name} is being deleted, cannot be assigned to a host")
        if assigned := pod["spec"].get("nodeName"):
            raise _binding_conflict(name, f'pod {name} is already assigned to node "{assigned}"')
        if pod["spec"].get("schedulingGates"):
            raise _binding_conflict(name, f"pod {name} has non-empty .spec.schedulingGates")
        extra = (binding.get("metadata") or {}).get("annotations")
        if extra:
            metadata = {**metadata, "annotations": {**(metadata.get("annotations") or {}), **extra}}
        scheduled = {
            "type": "PodScheduled",
            "status": "True",
            "lastProbeTime": None,
            "lastTransitionTime": format_time(self._clock.now()),
        }
        status = pod.get("status") or {}
        conditions = [c for c in status.get("conditions") or () if c.get("type") != "PodScheduled"]
        return {
            **pod,
            "metadata": dict(metadata),
            "spec": {**pod["spec"], "nodeName": node},
            "status": {**status, "conditions": [*conditions, scheduled]},
        }

    # pods/eviction

    async def evict(self, request: Request, route: Route, renderer: Renderer) -> Response:
        """Delete a pod on somebody's behalf. There are no disruption budgets yet, so nothing is in the way."""
        eviction, warnings = bodies.read(request, "policy/v1", "Eviction")
        bodies.match_name(eviction, route)
        options = deletion.options_of(eviction.get("deleteOptions") or {}, dict(request.query))
        await self._deletes.delete_object(route, options)
        return renderer.value(_SUCCESS, status=201, headers=bodies.warning_headers(warnings))

    # scale

    async def get_scale(self, request: Request, route: Route, renderer: Renderer) -> Response:
        """How many replicas there are and should be."""
        del request
        item = await self._registry.latest(route.resource, route.namespace, route.name)
        if item is None:
            raise refusals.not_found(route.resource, route.name)
        return renderer.value(_scale_of(item.object, _rule(route)))

    async def set_scale(self, request: Request, route: Route, renderer: Renderer) -> Response:
        """PUT or PATCH of the scale: changes `spec.replicas` of the object."""
        rule = _rule(route)
        patch = patching.read(request) if request.method == "PATCH" else None

        def make(item: Item) -> Object:
            if patch is None:
                scale, _ = bodies.read(request, SCALE.api_version, SCALE.kind)
            else:
                scale = patching.apply(patch, _scale_of(item.object, rule), SCALE)
                schema.conform(scale, SCALE.api_version, SCALE.kind)
            bodies.match_name(scale, route)
            return _scaled(item.object, scale, rule)

        dry_run = bool([v for v in request.params("dryRun") if v])
        item = await self._writes.change(
            Change(Route(route.resource, "update", route.namespace, route.name), make, dry_run)
        )
        return renderer.value(_scale_of(item.object, rule))


def _binding_conflict(name: str, why: str) -> Conflict:
    return Conflict(f'Operation cannot be fulfilled on pods/binding "{name}": {why}', name=name, kind="pods/binding")


def _rule(route: Route) -> ScaleRule:
    rule = strategy_for(route.resource).scale
    if rule is None:
        raise BadRequest(f"{route.resource.qualified} cannot be scaled")
    return rule


def _scale_of(obj: Object, rule: ScaleRule) -> Object:
    metadata = obj["metadata"]
    kept = ("name", "namespace", "uid", "resourceVersion", "creationTimestamp")
    return {
        "kind": SCALE.kind,
        "apiVersion": SCALE.api_version,
        "metadata": {field: metadata[field] for field in kept if field in metadata},
        "spec": {"replicas": rule.replicas(obj)},
        "status": {"replicas": rule.status_replicas(obj), "selector": rule.selector(obj)},
    }


def _scaled(obj: Object, scale: Object, rule: ScaleRule) -> Object:
    """A copy of the object with the replicas, and the resourceVersion, that the scale names."""
    replicas = (scale.get("spec") or {}).get("replicas", 0)
    name = obj["metadata"]["name"]
    if replicas < 0:
        told = f"Invalid value: {replicas}: must be greater than or equal to 0"
        raise Invalid(
            f'Scale.{SCALE.group} "{name}" is invalid: spec.replicas: {told}',
            name=name,
            group=SCALE.group,
            kind=SCALE.kind,
            causes=[Cause("spec.replicas", "FieldValueInvalid", told)],
        )
    wanted = scale.get("metadata") or {}
    metadata = {k: v for k, v in obj["metadata"].items() if k != "resourceVersion"}
    for field in ("resourceVersion", "uid"):
        if wanted.get(field):
            metadata[field] = wanted[field]
    new = {**obj, "metadata": metadata, "spec": dict(obj["spec"])}
    rule.set_replicas(new, replicas)
    return new
