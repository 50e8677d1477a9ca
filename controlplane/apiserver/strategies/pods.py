"""Pods: declared as Kubernetes' pkg/registry/core/pod/strategy.go does."""

from __future__ import annotations

from controlplane.apiserver.strategies import causes
from controlplane.apiserver.strategies.pod_defaults import default_pod
from controlplane.apiserver.strategies.pod_qos import qos_class
from controlplane.apiserver.strategies.pod_updates import (
    validate_ephemeral_update,
    validate_pod_status,
    validate_pod_update,
    validate_resize,
)
from controlplane.apiserver.strategies.pod_validation import validate_pod
from controlplane.apiserver.strategies.strategy import Strategy, UpdateRule
from controlplane.apiserver.strategies.writing import (
    bump_generation,
    keep,
    keep_metadata,
    keep_status,
    start_generation,
)
from mesh.errors import Cause
from mesh.objects import kinds, names
from mesh.objects.types import Object


def _prepare(pod: Object) -> None:
    start_generation(pod)
    pod["status"] = {"phase": "Pending", "qosClass": qos_class(pod["spec"])}
    if pod["spec"].get("schedulingGates"):
        pod["status"]["conditions"] = [
            {
                "type": "PodScheduled",
                "status": "False",
                "reason": "SchedulingGated",
                "message": "Scheduling is blocked due to non-empty scheduling gates",
            }
        ]


def _validate(pod: Object) -> list[Cause]:
    spec = pod["spec"]
    found = validate_pod(pod)
    if spec.get("ephemeralContainers"):
        found.append(causes.forbidden("spec.ephemeralContainers", "cannot be set on create"))
    if spec.get("nodeName") and spec.get("schedulingGates"):
        sentence = "cannot be set until all schedulingGates have been cleared"
        found.append(causes.forbidden("spec.nodeName", sentence))
    return found


def _prepare_update(new: Object, old: Object) -> None:
    keep_status(new, old)
    bump_generation(new, old)


def _prepare_status(new: Object, old: Object) -> None:
    new["spec"] = old["spec"]
    # Old kubelets corrupted owner references here, so Kubernetes never takes them from a status write.
    if "ownerReferences" in old["metadata"]:
        new["metadata"]["ownerReferences"] = old["metadata"]["ownerReferences"]
    else:
        new["metadata"].pop("ownerReferences", None)
    status, before = new.setdefault("status", {}), old.get("status") or {}
    if not status.get("qosClass") and before.get("qosClass"):
        status["qosClass"] = before["qosClass"]
    if not status.get("observedGeneration") and before.get("observedGeneration"):
        status["observedGeneration"] = before["observedGeneration"]


def _prepare_ephemeral(new: Object, old: Object) -> None:
    """Take nothing from the request but the ephemeral containers."""
    asked = new["spec"]
    new["spec"] = dict(old["spec"])
    keep("ephemeralContainers", new["spec"], asked)
    keep_status(new, old)
    keep_metadata(new, old)
    bump_generation(new, old)


def _prepare_resize(new: Object, old: Object) -> None:
    """Take nothing from the request but the containers' resources and resize policies."""
    spec = dict(old["spec"])
    for field in ("containers", "initContainers"):
        asked, current = new["spec"].get(field) or [], old["spec"].get(field) or []
        if [c.get("name") for c in asked] != [c.get("name") for c in current]:
            continue
        spec[field] = [
            {**before, **{key: now[key] for key in ("resources", "resizePolicy") if key in now}}
            for now, before in zip(asked, current, strict=True)
        ]
    new["spec"] = {key: value for key, value in spec.items() if value or key in old["spec"]}
    keep_status(new, old)
    keep_metadata(new, old)
    bump_generation(new, old)


def _grace_period(pod: Object, requested: int | None) -> int:
    """Seconds between the deletion of a pod and its end: none when no node runs it or it has finished."""
    spec, status = pod["spec"], pod.get("status") or {}
    period = requested if requested is not None else spec.get("terminationGracePeriodSeconds", 0)
    if not spec.get("nodeName") or status.get("phase") in {"Failed", "Succeeded"}:
        return 0
    return int(period) if period >= 0 else 1


def _warnings(pod: Object) -> list[str]:
    name = pod["metadata"].get("name", "")
    if not (sentences := names.dns1123_label(name)):
        return []
    intro = "metadata.name: this is used in the Pod's hostname, which can result in surprising behavior"
    return [f"{intro}; a DNS label is recommended: [{' '.join(sentences)}]"]


def _status_field(field: str, pod: Object) -> str:
    return str((pod.get("status") or {}).get(field) or "")


STRATEGY = Strategy(
    resource=kinds.PODS,
    default=default_pod,
    prepare=_prepare,
    validate=_validate,
    updates={
        "": UpdateRule(prepare=_prepare_update, validate=validate_pod_update),
        "status": UpdateRule(prepare=_prepare_status, validate=validate_pod_status),
        "ephemeralcontainers": UpdateRule(prepare=_prepare_ephemeral, validate=validate_ephemeral_update),
        "resize": UpdateRule(prepare=_prepare_resize, validate=validate_resize),
    },
    fields={
        "spec.nodeName": lambda pod: str(pod["spec"].get("nodeName", "")),
        "spec.restartPolicy": lambda pod: str(pod["spec"].get("restartPolicy", "")),
        "spec.schedulerName": lambda pod: str(pod["spec"].get("schedulerName", "")),
        "spec.serviceAccountName": lambda pod: str(pod["spec"].get("serviceAccountName", "")),
        "spec.hostNetwork": lambda pod: "true" if pod["spec"].get("hostNetwork") else "false",
        "status.phase": lambda pod: _status_field("phase", pod),
        "status.podIP": lambda pod: _status_field("podIP", pod),
        "status.podIPs": lambda pod: _status_field("podIP", pod),
        "status.nominatedNodeName": lambda pod: _status_field("nominatedNodeName", pod),
    },
    grace_period=_grace_period,
    warnings=_warnings,
)
