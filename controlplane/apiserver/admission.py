"""Admission: what the cluster adds to new objects, and which it does not let in. Pure.

What a check needs to know (the namespace, the service account) is looked up before by the pipeline. Source: the plugins
NamespaceLifecycle, ServiceAccount, DefaultTolerationSeconds and Priority of kube-apiserver.
"""

from __future__ import annotations

from dataclasses import dataclass

from controlplane.apiserver import refusals
from mesh.errors import Cause, NotFound
from mesh.objects.kinds import NAMESPACES, PODS, Resource
from mesh.objects.types import Object

IMMORTAL_NAMESPACES = frozenset({"default", "kube-system", "kube-public"})
TOKEN_MOUNT = "/var/run/secrets/kubernetes.io/serviceaccount"
_TOKEN_SECONDS = 3607
_NOT_READY = "node.kubernetes.io/not-ready"
_UNREACHABLE = "node.kubernetes.io/unreachable"
_PRIORITY_CLASSES = {"": 0, "system-cluster-critical": 2_000_000_000, "system-node-critical": 2_000_001_000}


@dataclass(frozen=True, slots=True)
class Tolerance:
    """For how many seconds a pod that does not say stays on a node that is not ready, or that nobody hears."""

    not_ready: int
    unreachable: int


@dataclass(frozen=True, slots=True)
class PodDefaults:
    """What admission needs to know about a new pod's surroundings."""

    tolerance: Tolerance
    service_account: Object | None
    suffix: str
    """Five random characters for the name of the token volume."""


def check_namespace(resource: Resource, name: str, namespace: str, found: Object | None) -> None:
    """Refuse new content for a namespace that does not exist or is going; `found` is the namespace."""
    if found is None:
        raise NotFound(f'namespaces "{namespace}" not found', name=namespace, kind=NAMESPACES.plural)
    if "deletionTimestamp" in found["metadata"] or (found.get("status") or {}).get("phase") == "Terminating":
        cause = Cause("metadata.namespace", "NamespaceTerminating", f"namespace {namespace} is being terminated")
        why = f"unable to create new content in namespace {namespace} because it is being terminated"
        raise refusals.forbidden(resource, name, why, (cause,))


def check_delete(resource: Resource, name: str) -> None:
    """Some namespaces may not be deleted."""
    if resource is NAMESPACES and name in IMMORTAL_NAMESPACES:
        raise refusals.forbidden(resource, name, "this namespace may not be deleted")


def service_account_of(pod: Object) -> str:
    """The service account a new pod asks for."""
    spec = pod.get("spec") or {}
    return str(spec.get("serviceAccountName") or spec.get("serviceAccount") or "default")


def admit_pod(pod: Object, defaults: PodDefaults) -> None:
    """Complete a new pod in place: service account with its token, priority, tolerations of lost nodes."""
    name = pod["metadata"].get("name", "")
    spec = pod.get("spec")
    if not isinstance(spec, dict):
        return
    account = service_account_of(pod)
    if defaults.service_account is None:
        namespace = pod["metadata"]["namespace"]
        why = f'error looking up service account {namespace}/{account}: serviceaccount "{account}" not found'
        raise refusals.forbidden(PODS, name, why)
    spec["serviceAccountName"] = spec["serviceAccount"] = account
    pull_secrets = defaults.service_account.get("imagePullSecrets")
    if pull_secrets and not spec.get("imagePullSecrets"):
        spec["imagePullSecrets"] = pull_secrets
    if _wants_token(spec, defaults.service_account):
        _mount_token(spec, f"kube-api-access-{defaults.suffix}")
    _set_priority(spec, name)
    if runtime := spec.get("runtimeClassName"):
        # There are none: RuntimeClasses are not served, and every container runs alike.
        raise refusals.forbidden(PODS, name, f'pod rejected: RuntimeClass "{runtime}" not found')
    _tolerate_lost_nodes(spec, defaults.tolerance)


def _wants_token(spec: Object, account: Object) -> bool:
    for source in (spec, account):
        if source.get("automountServiceAccountToken") is not None:
            return bool(source["automountServiceAccountToken"])
    return True


def _mount_token(spec: Object, volume: str) -> None:
    containers = [*(spec.get("initContainers") or ()), *(spec.get("containers") or ())]
    without = [c for c in containers if not any(m.get("mountPath") == TOKEN_MOUNT for m in c.get("volumeMounts") or ())]
    if not without:
        return
    for container in without:
        mount = {"name": volume, "readOnly": True, "mountPath": TOKEN_MOUNT}
        container["volumeMounts"] = [*(container.get("volumeMounts") or ()), mount]
    namespace = {"path": "namespace", "fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.namespace"}}
    sources = [
        {"serviceAccountToken": {"expirationSeconds": _TOKEN_SECONDS, "path": "token"}},
        {"configMap": {"name": "kube-root-ca.crt", "items": [{"key": "ca.crt", "path": "ca.crt"}]}},
        {"downwardAPI": {"items": [namespace]}},
    ]
    projected = {"name": volume, "projected": {"defaultMode": 0o644, "sources": sources}}
    spec["volumes"] = [*(spec.get("volumes") or ()), projected]


def _set_priority(spec: Object, name: str) -> None:
    wanted = spec.get("priorityClassName") or ""
    priority = _PRIORITY_CLASSES.get(wanted)
    if priority is None:
        raise refusals.forbidden(PODS, name, f"no PriorityClass with name {wanted} was found")
    if spec.get("priority") not in {None, priority}:
        why = (
            f"the integer value of priority ({spec['priority']}) must not be provided in pod spec; "
            f"priority admission controller computed {priority} from the given PriorityClass name"
        )
        raise refusals.forbidden(PODS, name, why)
    spec["priority"] = priority
    spec.setdefault("preemptionPolicy", "PreemptLowerPriority")


def _tolerate_lost_nodes(spec: Object, tolerance: Tolerance) -> None:
    tolerations = spec.get("tolerations") or []
    for taint, seconds in ((_NOT_READY, tolerance.not_ready), (_UNREACHABLE, tolerance.unreachable)):
        if not any(_tolerates(t, taint) for t in tolerations):
            added = {"key": taint, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": seconds}
            tolerations = [*tolerations, added]
    spec["tolerations"] = tolerations


def _tolerates(toleration: Object, taint: str) -> bool:
    return toleration.get("key") in {taint, None, ""} and toleration.get("effect") in {"NoExecute", None, ""}


def keep_admitted(new: Object, old: Object) -> None:
    """An update that leaves out what admission had added does not mean to remove it."""
    spec, before = new.get("spec"), old.get("spec") or {}
    if isinstance(spec, dict):
        for field in ("priority", "preemptionPolicy", "serviceAccountName", "serviceAccount"):
            if field not in spec and field in before:
                spec[field] = before[field]
