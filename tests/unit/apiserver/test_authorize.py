"""Who may do what, by group."""

from __future__ import annotations

import pytest

from controlplane.apiserver.authorize import Attributes, GroupAuthorizer
from mesh.api.port import User

NODE = User("system:node:a", ("system:nodes", "system:authenticated"))
PROXY = User("system:covey:proxy:a", ("system:node-proxiers", "system:authenticated"))
LEASES = ("coordination.k8s.io", "leases")


@pytest.mark.parametrize(
    ("user", "verb", "group", "resource", "namespace", "expected"),
    [
        (NODE, "list", "", "pods", "", True),
        (NODE, "create", "", "pods", "default", False),
        (NODE, "update", *LEASES, "kube-node-lease", True),
        (NODE, "update", *LEASES, "kube-system", False),  # who leads, and where API servers listen
        (NODE, "list", *LEASES, "", False),
        (PROXY, "list", "", "services", "", True),
        (PROXY, "list", "", "secrets", "", False),
        (PROXY, "update", *LEASES, "kube-node-lease", False),
    ],
)
def test_rules(user: User, verb: str, group: str, resource: str, namespace: str, expected: bool) -> None:
    wanted = Attributes(verb, group=group, resource=resource, namespace=namespace)
    assert GroupAuthorizer().allows(user, wanted) is expected
