"""The root CA publisher: every active namespace has the cluster's CA certificate in a ConfigMap, for pods to mount.

Pure. Behaviour: Kubernetes' pkg/controller/certificates/rootcacertpublisher.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from mesh.objects.kinds import CONFIGMAPS, NAMESPACES
from mesh.objects.meta import Key, is_deleting, name_of, namespace_of, thaw
from mesh.objects.types import Object
from mesh.plan.actions import NOTHING, Create, Plan, Update
from mesh.plan.controller import Caches, Observed, Watch, itself

CONFIGMAP = "kube-root-ca.crt"
_DESCRIPTION = (
    "Contains a CA bundle that can be used to verify the kube-apiserver when using internal endpoints such as the "
    "internal service IP or kubernetes.default.svc. No other usage is guaranteed across distributions of Kubernetes "
    "clusters."
)


def _wake_namespace(configmap: Object, _caches: Caches) -> Iterable[Key]:
    return (Key("", namespace_of(configmap)),) if name_of(configmap) == CONFIGMAP else ()


class RootCaController:
    """Creates the ConfigMap, and puts it right when somebody changes it. `certificate` is PEM text."""

    name = "root-ca-certificate-publisher"
    watches: Sequence[Watch] = (Watch(NAMESPACES, itself), Watch(CONFIGMAPS, _wake_namespace))

    def __init__(self, certificate: str) -> None:
        self._data = {"ca.crt": certificate}

    def plan(self, key: Key, observed: Observed) -> Plan:
        """For the namespace `key`."""
        namespace = observed.caches[NAMESPACES].get(key)
        if namespace is None or is_deleting(namespace):
            return NOTHING
        existing = observed.caches[CONFIGMAPS].get(Key(key.name, CONFIGMAP))
        if existing is None:
            meta = {
                "namespace": key.name,
                "name": CONFIGMAP,
                "annotations": {"kubernetes.io/description": _DESCRIPTION},
            }
            new = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta, "data": dict(self._data)}
            return Plan((Create(CONFIGMAPS, new),))
        if existing.get("data") == self._data:
            return NOTHING
        return Plan((Update(CONFIGMAPS, {**thaw(existing), "data": dict(self._data)}),))
