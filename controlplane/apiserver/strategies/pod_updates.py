"""What an update of a pod may change: little of the spec, and its status only forwards.

Source: ValidatePodUpdate, ValidatePodStatusUpdate, ValidatePodEphemeralContainersUpdate and ValidatePodResize in
pkg/apis/core/validation/validation.go of Kubernetes 1.36.
"""

from __future__ import annotations

from collections.abc import Sequence

from controlplane.apiserver.strategies import causes
from controlplane.apiserver.strategies.ip_validation import validate_ip
from controlplane.apiserver.strategies.pod_qos import qos_class
from controlplane.apiserver.strategies.pod_validation import validate_pod
from mesh.errors import Cause
from mesh.objects import names
from mesh.objects.types import Json, Object

_UPDATABLE = (
    "`spec.containers[*].image`",
    "`spec.initContainers[*].image`",
    "`spec.activeDeadlineSeconds`",
    "`spec.tolerations` (only additions to existing tolerations)",
    "`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)",
)
_MIRROR = "kubernetes.io/config.mirror"
_MAX_INT32 = 2**31 - 1


def validate_pod_update(new: Object, old: Object) -> list[Cause]:
    """An update of the pod itself: images, a shorter deadline, more tolerations, fewer scheduling gates."""
    found = validate_pod(new)
    spec, before = new["spec"], old["spec"]
    for field in ("containers", "initContainers"):
        changed = _validate_container_lists(spec.get(field) or [], before.get(field) or [], f"spec.{field}")
        found += changed
        if len(spec.get(field) or []) != len(before.get(field) or []):
            return found
    found += _validate_deadline(spec.get("activeDeadlineSeconds"), before.get("activeDeadlineSeconds"))
    found += _validate_tolerations(spec.get("tolerations") or [], before.get("tolerations") or [])
    found += _validate_scheduling_gates(spec.get("schedulingGates") or [], before.get("schedulingGates") or [])
    gated = bool(before.get("schedulingGates"))
    if gated:
        found += _validate_node_selector(spec.get("nodeSelector") or {}, before.get("nodeSelector") or {})
    if rest := _differences(_without_updatable(spec, before, gated=gated), before):
        listed = "\n".join(rest)
        sentence = f"pod updates may not change fields other than {','.join(_UPDATABLE)}\n{listed}"
        found.append(causes.forbidden("spec", sentence))
    return found


def _validate_container_lists(new: Sequence[Object], old: Sequence[Object], path: str) -> list[Cause]:
    if len(new) != len(old):
        return [causes.forbidden(path, "pod updates may not add or remove containers")]
    return [
        causes.required(f"{causes.index(path, position)}.image")
        for position, container in enumerate(new)
        if not container.get("image")
    ]


def _validate_deadline(new: int | None, old: int | None) -> list[Cause]:
    path = "spec.activeDeadlineSeconds"
    if new is None:
        sentence = "must not update from a positive integer to nil value"
        return [] if old is None else [causes.invalid(path, None, sentence)]
    if not 0 <= new <= _MAX_INT32:
        return [causes.invalid(path, new, names.between(0, _MAX_INT32))]
    if old is not None and old < new:
        return [causes.invalid(path, new, "must be less than or equal to previous value")]
    return []


def _validate_tolerations(new: Sequence[Object], old: Sequence[Object]) -> list[Cause]:
    def without_seconds(toleration: Object) -> Object:
        return {key: value for key, value in toleration.items() if key != "tolerationSeconds"}

    kept = [without_seconds(toleration) for toleration in new]
    if all(without_seconds(toleration) in kept for toleration in old):
        return []
    return [
        causes.forbidden("spec.tolerations", "existing toleration can not be modified except its tolerationSeconds")
    ]


def _validate_scheduling_gates(new: Sequence[Object], old: Sequence[Object]) -> list[Cause]:
    known = {gate.get("name", "") for gate in old}
    return [
        causes.forbidden(
            f"spec.schedulingGates[{position}].name",
            f"only deletion is allowed, but found new scheduling gate '{gate.get('name', '')}'",
        )
        for position, gate in enumerate(new)
        if gate.get("name", "") not in known
    ]


def _validate_node_selector(new: Object, old: Object) -> list[Cause]:
    if all(new.get(key) == value for key, value in old.items()):
        return []
    return [
        causes.invalid(
            "spec.nodeSelector", new, "only additions to spec.nodeSelector are allowed (no mutations or deletions)"
        )
    ]


def _without_updatable(spec: Object, before: Object, *, gated: bool) -> Object:
    """The new spec with the old values of everything that may change."""
    result = dict(spec)
    fields = ["activeDeadlineSeconds", "tolerations", "schedulingGates"]
    if gated:
        fields.append("nodeSelector")
    if before.get("terminationGracePeriodSeconds", 0) < 0 and spec.get("terminationGracePeriodSeconds") == 1:
        fields.append("terminationGracePeriodSeconds")
    for field in fields:
        if field in before:
            result[field] = before[field]
        else:
            result.pop(field, None)
    for field in ("containers", "initContainers"):
        if field in spec:
            result[field] = [
                {**container, "image": previous.get("image", "")}
                for container, previous in zip(spec[field], before.get(field) or (), strict=True)
            ]
    return result


def _differences(new: Json, old: Json, path: str = "spec") -> list[str]:
    """Where two values differ, one line each: what a user needs to see which field was refused."""
    if new == old:
        return []
    if isinstance(new, dict) and isinstance(old, dict):
        keys = [*old, *(key for key in new if key not in old)]
        return [line for key in keys for line in _differences(new.get(key), old.get(key), f"{path}.{key}")]
    if isinstance(new, list) and isinstance(old, list) and len(new) == len(old):
        pairs = enumerate(zip(new, old, strict=True))
        return [line for position, (a, b) in pairs for line in _differences(a, b, f"{path}[{position}]")]
    return [f"  {path}: {causes.show(old)} -> {causes.show(new)}"]


def validate_pod_status(new: Object, old: Object) -> list[Cause]:
    """A write of the status: terminated containers that may not restart stay terminated."""
    found: list[Cause] = []
    status, before, spec = new.get("status") or {}, old.get("status") or {}, old["spec"]
    nominated = status.get("nominatedNodeName")
    if nominated and nominated != before.get("nominatedNodeName"):
        found += causes.each("status.nominatedNodeName", nominated, names.dns1123_subdomain(nominated))
    found += causes.immutable("status.qosClass", status.get("qosClass"), before.get("qosClass"))
    sidecars = {c["name"] for c in spec.get("initContainers") or () if c.get("restartPolicy") == "Always"}
    own = {
        c["name"] for field in ("containers", "initContainers") for c in spec.get(field) or () if "restartPolicy" in c
    }
    for field, policy in (
        ("containerStatuses", spec.get("restartPolicy", "Always")),
        ("initContainerStatuses", spec.get("restartPolicy", "Always")),
        ("ephemeralContainerStatuses", "Never"),
    ):
        found += _validate_transitions(
            status.get(field) or (), before.get(field) or (), f"status.{field}", policy, sidecars | own
        )
    for field in ("podIPs", "hostIPs"):
        for position, entry in enumerate(status.get(field) or ()):
            found += validate_ip(entry.get("ip", ""), causes.index(f"status.{field}", position))
    return found


def _validate_transitions(
    new: Sequence[Object], old: Sequence[Object], path: str, policy: str, exempt: set[str]
) -> list[Cause]:
    if policy == "Always":
        return []
    now = {status.get("name"): status for status in new}
    found: list[Cause] = []
    for position, status in enumerate(old):
        terminated = (status.get("state") or {}).get("terminated")
        name = status.get("name")
        if terminated is None or name in exempt or name not in now:
            continue
        if terminated.get("exitCode", 0) != 0 and policy == "OnFailure":
            continue
        if "terminated" not in (now[name].get("state") or {}):
            at = f"{causes.index(path, position)}.state"
            found.append(causes.forbidden(at, "may not be transitioned to non-terminated state"))
    return found


def validate_ephemeral_update(new: Object, old: Object) -> list[Cause]:
    """Ephemeral containers can be added, never changed or removed."""
    found = validate_pod(new)
    if _MIRROR in (old["metadata"].get("annotations") or {}):
        return [causes.forbidden("", "static pods do not support ephemeral containers")]
    now = {container.get("name", ""): container for container in new["spec"].get("ephemeralContainers") or ()}
    for container in old["spec"].get("ephemeralContainers") or ():
        name = container["name"]
        path = "spec.ephemeralContainers"
        if name not in now:
            sentence = f'existing ephemeral containers "{name}" may not be removed\n'
            found.append(causes.forbidden(path, sentence))
        elif now[name] != container:
            sentence = f'existing ephemeral containers "{name}" may not be changed\n'
            found.append(causes.forbidden(path, sentence))
    return found


def validate_resize(new: Object, old: Object) -> list[Cause]:
    """A resize changes cpu and memory of containers; the class of service stays. Nodes of ours cannot give a running
    container other limits, so it is refused once a node has the pod, in the words for such nodes."""
    found = validate_pod(new)
    if old["spec"].get("nodeName"):
        found.append(causes.forbidden("spec", "Pod running on node without support for resize"))
    if qos_class(new["spec"]) != qos_class(old["spec"]):
        sentence = "Pod QOS Class may not change as a result of resizing"
        found.append(causes.invalid("spec", qos_class(old["spec"]), sentence))
    for field in ("containers", "initContainers"):
        pairs = zip(new["spec"].get(field) or (), old["spec"].get(field) or (), strict=False)
        for position, (container, before) in enumerate(pairs):
            at = f"spec.{field}[{position}].resources"
            for part, sentence in (
                ("requests", "resource requests cannot be removed"),
                ("limits", "resource limits cannot be removed"),
            ):
                amounts, previous = ((c.get("resources") or {}).get(part) or {} for c in (container, before))
                if previous.keys() - amounts.keys():
                    found.append(causes.forbidden(f"{at}.{part}", sentence))
                changed = {name for name in amounts if amounts[name] != previous.get(name)}
                if changed - {"cpu", "memory"}:
                    found.append(causes.forbidden("spec", "only cpu and memory resources are mutable"))
    return found
