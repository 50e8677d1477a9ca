"""Binding a pod to a node: the one way in which `spec.nodeName` of an existing pod is set.

Source: BindingREST in pkg/registry/core/pod/storage/storage.go of Kubernetes 1.36. It does not count as a change of the
desired state, so the generation stays.
"""

from __future__ import annotations

from controlplane.apiserver.strategies import causes
from mesh.errors import Cause, Conflict, Invalid
from mesh.objects.meta import name_of, thaw
from mesh.objects.types import Object


def validate_binding(binding: Object) -> list[Cause]:
    """The target of a binding is a node with a name."""
    target = binding.get("target") or {}
    found: list[Cause] = []
    if target.get("kind", "") not in {"", "Node"}:
        found.append(causes.unsupported("target.kind", target["kind"], ("Node", "<empty>")))
    if not target.get("name"):
        found.append(causes.required("target.name"))
    return found


def bind(pod: Object, binding: Object, now: str) -> Object:
    """The stored pod, assigned to the binding's node; `now` is a `metav1.Time`.

    Raises `Invalid` for a bad target and `Conflict` for a pod that is another one, on its way out, gated, or assigned.
    """
    name = name_of(pod)
    if found := validate_binding(binding):
        sentences = ", ".join(f"{cause.field}: {cause.message}" for cause in found)
        raise Invalid(f'Binding "{name}" is invalid: {sentences}', name=name, kind="Binding", causes=found)
    wanted = (binding.get("metadata") or {}).get("uid")
    if wanted and wanted != pod["metadata"].get("uid"):
        raise _refused(name, f"Precondition failed: UID in precondition: {wanted}, UID in object meta: {_uid(pod)}")
    if "deletionTimestamp" in pod["metadata"]:
        raise _refused(name, f"pod {name} is being deleted, cannot be assigned to a host")
    if node := pod["spec"].get("nodeName"):
        raise _refused(name, f'pod {name} is already assigned to node "{node}"')
    if pod["spec"].get("schedulingGates"):
        raise _refused(name, f"pod {name} has non-empty .spec.schedulingGates")
    bound: Object = thaw(pod)
    bound["spec"]["nodeName"] = binding["target"]["name"]
    for field in ("annotations", "labels"):
        if added := (binding.get("metadata") or {}).get(field):
            bound["metadata"].setdefault(field, {}).update(added)
    status = bound.setdefault("status", {})
    others = [c for c in status.get("conditions") or () if c.get("type") != "PodScheduled"]
    scheduled = {"type": "PodScheduled", "status": "True", "lastProbeTime": None, "lastTransitionTime": now}
    status["conditions"] = [*others, scheduled]
    return bound


def _uid(pod: Object) -> str:
    return str(pod["metadata"].get("uid", ""))


def _refused(name: str, detail: str) -> Conflict:
    message = f'Operation cannot be fulfilled on pods/binding "{name}": {detail}'
    return Conflict(message, name=name, kind="pods/binding")
