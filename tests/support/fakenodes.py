"""Node objects in a list that tests change, in the shape of an informer."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from mesh.objects.types import Object


def node_object(name: str, address: str, pod_cidr: str) -> Object:
    """A Node as the pod network reads it."""
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": name},
        "spec": {"podCIDR": pod_cidr, "podCIDRs": [pod_cidr]},
        "status": {"addresses": [{"type": "InternalIP", "address": address}, {"type": "Hostname", "address": name}]},
    }


class FakeNodes:
    """Implements `agents.network.node.NodeCache`."""

    def __init__(self, *nodes: Object) -> None:
        self._nodes = list(nodes)
        self._handlers: list[Callable[[Object | None, Object | None], None]] = []

    def list(self) -> Sequence[Object]:
        return self._nodes

    async def synced(self) -> None:
        pass

    def add_handler(self, handler: Callable[[Object | None, Object | None], None]) -> None:
        self._handlers.append(handler)

    def become(self, *nodes: Object) -> None:
        """Replace all nodes and ring."""
        self._nodes = list(nodes)
        for handler in self._handlers:
            handler(None, None)
