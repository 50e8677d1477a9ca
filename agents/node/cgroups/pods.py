"""The cgroups of one node's pods: made before a pod's first container, removed when nothing of it is left.

What is in them is at most what a pod may use in all (https://kubernetes.io/docs/concepts/workloads/pods/pod-qos/, and
kubelet's pkg/kubelet/cm); its containers' own limits are the runtime's business.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Protocol, TypeAlias

from agents.node.cgroups.kill import ROOT, CgroupKiller
from agents.node.cgroups.names import CgroupNames
from agents.node.cgroups.slices import Slices
from agents.node.cgroups.tree import CgroupTree
from agents.node.ports import Resources, RuntimeInfo


class PodCgroups(Protocol):
    """Pods' cgroups by UID and quality of service. Everything may be repeated; what the kernel refuses is OSError."""

    def parent(self, uid: str, qos: str) -> str:
        """The pod's cgroup, as the runtime wants to hear it and as the fence kills it; "" where there are none."""

    async def ensure(self, uid: str, qos: str, limits: Resources) -> None:
        """Make it, with these limits for all its containers together."""

    async def divide(self, whole: Resources, burstable: Resources) -> None:
        """What all pods may use, and what those of the class Burstable weigh; BestEffort weighs as little as can be."""

    async def remove(self, uid: str) -> None:
        """Kill what is left in a pod's cgroup and remove it. One that is not empty yet stays, and is among `pods`."""

    def pods(self) -> set[str]:
        """UIDs of the pods that have a cgroup."""


MakeCgroups: TypeAlias = Callable[[RuntimeInfo], PodCgroups]
"""The cgroups that fit a runtime: names follow its driver."""


class KernelCgroups:
    """Real ones, of one node."""

    def __init__(self, cluster: str, node: str, info: RuntimeInfo, root: Path = ROOT) -> None:
        self._names = CgroupNames(cluster, node, systemd=info.cgroup_driver == "systemd")
        self._tree = CgroupTree(root)
        self._driver = Slices(self._tree) if self._names.systemd else self._tree
        self._killer = CgroupKiller(root)

    def parent(self, uid: str, qos: str) -> str:
        """See `PodCgroups.parent`."""
        return self._names.of_pod(uid, qos)

    async def ensure(self, uid: str, qos: str, limits: Resources) -> None:
        """See `PodCgroups.ensure`."""
        for parent in (self._names.of_class("Guaranteed"), self._names.of_class(qos)):
            if not self._tree.exists(parent):
                # By the pod's own slice systemd would make it unasked, and what `divide` then sets would outlive it.
                await self._driver.make(parent, Resources())
        await self._driver.make(self._names.of_pod(uid, qos), limits)

    async def divide(self, whole: Resources, burstable: Resources) -> None:
        """See `PodCgroups.divide`."""
        shares = {"Guaranteed": whole, "Burstable": burstable, "BestEffort": Resources(cpu_shares=2)}
        for qos, limits in shares.items():
            await self._driver.make(self._names.of_class(qos), limits)

    async def remove(self, uid: str) -> None:
        """See `PodCgroups.remove`."""
        for qos in ("Guaranteed", "Burstable", "BestEffort"):
            cgroup = self._names.of_pod(uid, qos)
            if self._tree.exists(cgroup):
                self._killer.kill(cgroup)
                await self._driver.remove(cgroup)

    def pods(self) -> set[str]:
        """See `PodCgroups.pods`."""
        found = {self._names.uid(name) for parent in self._names.classes() for name in self._tree.children(parent)}
        return found - {""}


async def remove_node(cluster: str, node: str, root: Path = ROOT) -> None:
    """Remove all that a node's agent has made, by whatever driver, once nothing runs in it; and what is above it, unless
    other nodes are there too. Raises OSError."""
    tree = CgroupTree(root)
    for systemd, driver in ((False, tree), (True, Slices(tree))):
        own, *shared = CgroupNames(cluster, node, systemd=systemd).levels()
        await driver.remove(own)
        for cgroup in shared:
            if not tree.children(cgroup):
                await driver.remove(cgroup)


class NoCgroups:
    """A simulated node has none."""

    def parent(self, uid: str, qos: str) -> str:
        """See `PodCgroups.parent`."""
        del uid, qos
        return ""

    async def ensure(self, uid: str, qos: str, limits: Resources) -> None:
        """See `PodCgroups.ensure`."""

    async def divide(self, whole: Resources, burstable: Resources) -> None:
        """See `PodCgroups.divide`."""

    async def remove(self, uid: str) -> None:
        """See `PodCgroups.remove`."""

    def pods(self) -> set[str]:
        """See `PodCgroups.pods`."""
        return set()
