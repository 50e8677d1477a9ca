"""Names and labels of what Covey makes in a container runtime (docs/architecture.md). Pure.

Labels are the agent's memory: what it finds through them after a restart is its own, and nothing else is.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass

from agents.node.ports import ContainerSpec, SandboxSpec

CLUSTER = "dev.covey.cluster"
NODE = "dev.covey.node"
POD_UID = "dev.covey.pod-uid"
POD_NAMESPACE = "dev.covey.pod-namespace"
POD_NAME = "dev.covey.pod-name"
CONTAINER = "dev.covey.container"
ATTEMPT = "dev.covey.attempt"
KIND = "dev.covey.kind"
SANDBOX = "dev.covey.sandbox"
"""On a container: id of the sandbox it joined. This is what ties a warm sandbox to its pod for good."""
HOSTNAME = "dev.covey.hostname"

KIND_SANDBOX = "sandbox"
KIND_CONTAINER = "container"


@dataclass(frozen=True, slots=True)
class Owner:
    """Whose containers these are: one node of one cluster."""

    cluster: str
    node: str

    def sandbox_name(self, pod_uid: str) -> str:
        """The runtime's name for a pod's own (cold) sandbox."""
        return f"covey_{self.cluster}_{self.node}_{pod_uid}"

    def warm_name(self, token: str) -> str:
        """The runtime's name for a warm sandbox; `token` makes it unique."""
        return f"covey_{self.cluster}_{self.node}_warm_{token}"

    def container_name(self, spec: ContainerSpec) -> str:
        """The runtime's name for a container: asking twice for the same one finds the first."""
        return f"covey_{self.cluster}_{self.node}_{spec.pod_uid}_{spec.name}_{spec.attempt}"

    def sandbox_labels(self, spec: SandboxSpec | None) -> dict[str, str]:
        """Labels of a pod's sandbox, or of a warm one (no spec)."""
        own = {CLUSTER: self.cluster, NODE: self.node, KIND: KIND_SANDBOX}
        if spec is None:
            return own
        pod = {POD_UID: spec.pod_uid, POD_NAMESPACE: spec.pod_namespace, POD_NAME: spec.pod_name}
        return {**spec.labels, **own, **pod}

    def container_labels(self, spec: ContainerSpec) -> dict[str, str]:
        """Labels of a container; `spec.labels` bring the pod's name and whatever else the agent wants to find again."""
        return {
            **spec.labels,
            CLUSTER: self.cluster,
            NODE: self.node,
            KIND: KIND_CONTAINER,
            POD_UID: spec.pod_uid,
            CONTAINER: spec.name,
            ATTEMPT: str(spec.attempt),
            SANDBOX: spec.sandbox_id,
            HOSTNAME: spec.hostname,
        }

    def filters(self, **more: str) -> str:
        """The API's `filters` parameter that selects what is this node's: `more` maps KIND, POD_UID... by keyword
        `kind`, `pod_uid`, `sandbox`."""
        wanted = {CLUSTER: self.cluster, NODE: self.node}
        wanted |= {_KEYWORDS[keyword]: value for keyword, value in more.items()}
        return json.dumps({"label": [f"{label}={value}" for label, value in wanted.items()]})

    def owns(self, labels: Mapping[str, str]) -> bool:
        """Whether something with these labels is this node's."""
        return labels.get(CLUSTER) == self.cluster and labels.get(NODE) == self.node


_KEYWORDS = {"kind": KIND, "pod_uid": POD_UID, "sandbox": SANDBOX}
