"""Which resources exist: one row for each built-in kind, with the names by which clients call it.

The rows hold identity only (what discovery publishes and every process needs). How a kind is defaulted, validated and
printed is declared beside the API server, in `controlplane/apiserver/strategies`, since only it needs to know.
Source: `kubectl api-resources` of Kubernetes 1.36.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, eq=False)
class Resource:
    """One resource of the API: where it lives and what it is called. There is one value for each, compared as such.

    `group` is empty for the core group. `subresources` lists those that are served below an object ("status", "log").
    """

    group: str
    version: str
    kind: str
    plural: str
    singular: str
    namespaced: bool
    short_names: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    subresources: tuple[str, ...] = ()

    @property
    def api_version(self) -> str:
        """What objects carry as `apiVersion`: "v1" or "apps/v1"."""
        return f"{self.group}/{self.version}" if self.group else self.version

    @property
    def qualified(self) -> str:
        """The resource as errors name it: "pods" or "deployments.apps"."""
        return f"{self.plural}.{self.group}" if self.group else self.plural

    def path(self, namespace: str = "", name: str = "", subresource: str = "") -> str:
        """The REST path of the collection, object or subresource; a namespace is ignored for cluster-scoped ones."""
        root = f"/apis/{self.group}/{self.version}" if self.group else f"/api/{self.version}"
        if self.namespaced and namespace:
            root += f"/namespaces/{namespace}"
        parts = [root, self.plural, name, subresource]
        return "/".join(p for p in parts if p)


_ALL = ("all",)

NAMESPACES = Resource("", "v1", "Namespace", "namespaces", "namespace", False, ("ns",), (), ("status", "finalize"))
NODES = Resource("", "v1", "Node", "nodes", "node", False, ("no",), (), ("status", "proxy"))
PODS = Resource(
    "", "v1", "Pod", "pods", "pod", True, ("po",), _ALL,
    ("status", "binding", "eviction", "log", "exec", "attach", "portforward", "proxy", "resize", "ephemeralcontainers"),
)  # fmt: skip
SERVICES = Resource("", "v1", "Service", "services", "service", True, ("svc",), _ALL, ("status", "proxy"))
ENDPOINTS = Resource("", "v1", "Endpoints", "endpoints", "endpoints", True, ("ep",))
CONFIGMAPS = Resource("", "v1", "ConfigMap", "configmaps", "configmap", True, ("cm",))
SECRETS = Resource("", "v1", "Secret", "secrets", "secret", True)
SERVICEACCOUNTS = Resource(
    "", "v1", "ServiceAccount", "serviceaccounts", "serviceaccount", True, ("sa",), (), ("token",)
)  # fmt: skip
EVENTS = Resource("", "v1", "Event", "events", "event", True, ("ev",))
REPLICASETS = Resource(
    "apps", "v1", "ReplicaSet", "replicasets", "replicaset", True, ("rs",), _ALL, ("status", "scale")
)  # fmt: skip
DEPLOYMENTS = Resource(
    "apps", "v1", "Deployment", "deployments", "deployment", True, ("deploy",), _ALL, ("status", "scale")
)  # fmt: skip
ENDPOINTSLICES = Resource("discovery.k8s.io", "v1", "EndpointSlice", "endpointslices", "endpointslice", True)
LEASES = Resource("coordination.k8s.io", "v1", "Lease", "leases", "lease", True)

BUILT_IN: tuple[Resource, ...] = (
    NAMESPACES, NODES, PODS, SERVICES, ENDPOINTS, CONFIGMAPS, SECRETS, SERVICEACCOUNTS, EVENTS, REPLICASETS,
    DEPLOYMENTS, ENDPOINTSLICES, LEASES,
)  # fmt: skip
"""Every built-in resource, in the order discovery lists them within a group."""

_AUTHENTICATION, _AUTHORIZATION = "authentication.k8s.io", "authorization.k8s.io"
SELF_REVIEWS = Resource(_AUTHENTICATION, "v1", "SelfSubjectReview", "selfsubjectreviews", "selfsubjectreview", False)
TOKEN_REVIEWS = Resource(_AUTHENTICATION, "v1", "TokenReview", "tokenreviews", "tokenreview", False)
LOCAL_ACCESS_REVIEWS = Resource(
    _AUTHORIZATION, "v1", "LocalSubjectAccessReview", "localsubjectaccessreviews", "localsubjectaccessreview", True
)
SELF_ACCESS_REVIEWS = Resource(
    _AUTHORIZATION, "v1", "SelfSubjectAccessReview", "selfsubjectaccessreviews", "selfsubjectaccessreview", False
)
RULES_REVIEWS = Resource(
    _AUTHORIZATION, "v1", "SelfSubjectRulesReview", "selfsubjectrulesreviews", "selfsubjectrulesreview", False
)
ACCESS_REVIEWS = Resource(
    _AUTHORIZATION, "v1", "SubjectAccessReview", "subjectaccessreviews", "subjectaccessreview", False
)
REVIEWS: tuple[Resource, ...] = (
    SELF_REVIEWS, TOKEN_REVIEWS, LOCAL_ACCESS_REVIEWS, SELF_ACCESS_REVIEWS, RULES_REVIEWS, ACCESS_REVIEWS,
)  # fmt: skip
"""Questions that clients ask by creating an object, which is answered and never stored."""

_BY_KIND = {(r.api_version, r.kind): r for r in BUILT_IN}
_BY_PLURAL = {(r.group, r.version, r.plural): r for r in (*BUILT_IN, *REVIEWS)}


def by_kind(api_version: str, kind: str) -> Resource | None:
    """The resource of an object with this apiVersion and kind, or None."""
    return _BY_KIND.get((api_version, kind))


def by_plural(group: str, version: str, plural: str) -> Resource | None:
    """The resource at `/apis/<group>/<version>/<plural>` (group "" is `/api`), or None."""
    return _BY_PLURAL.get((group, version, plural))
