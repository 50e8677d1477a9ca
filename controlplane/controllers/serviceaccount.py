"""The service account controller: every active namespace has a ServiceAccount `default`.

Pure. Behaviour: Kubernetes' pkg/controller/serviceaccount/serviceaccounts_controller.go.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from mesh.objects.kinds import NAMESPACES, SERVICEACCOUNTS
from mesh.objects.meta import Key, is_deleting, name_of, namespace_of
from mesh.objects.types import Object
from mesh.plan.actions import NOTHING, Create, Plan
from mesh.plan.controller import Caches, Observed, Watch, itself


def _wake_namespace(account: Object, _caches: Caches) -> Iterable[Key]:
    return (Key("", namespace_of(account)),) if name_of(account) == "default" else ()


class ServiceAccountController:
    """Creates what is missing; an account that somebody deletes comes back."""

    name = "serviceaccount-controller"
    watches: Sequence[Watch] = (Watch(NAMESPACES, itself), Watch(SERVICEACCOUNTS, _wake_namespace))

    def plan(self, key: Key, observed: Observed) -> Plan:
        """For the namespace `key`."""
        namespace = observed.caches[NAMESPACES].get(key)
        if namespace is None or is_deleting(namespace):
            return NOTHING
        if observed.caches[SERVICEACCOUNTS].get(Key(key.name, "default")) is not None:
            return NOTHING
        account = {
            "apiVersion": "v1",
            "kind": "ServiceAccount",
            "metadata": {"namespace": key.name, "name": "default"},
        }
        return Plan((Create(SERVICEACCOUNTS, account),))
