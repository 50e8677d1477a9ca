"""Names of cgroups, in the words of the runtime's cgroup driver, and where the kernel shows them. Pure.

`cgroupfs` names a cgroup by its path; `systemd` by a slice, in whose name dashes separate the levels of the tree
(https://www.freedesktop.org/software/systemd/man/latest/systemd.slice.html). Escaping is kubelet's
(pkg/kubelet/cm/cgroup_manager_linux.go). The fence's watchdog imports this: nothing but the standard library.
"""

from __future__ import annotations

from dataclasses import dataclass

SLICE = ".slice"
_CLASSES = {"Guaranteed": (), "Burstable": ("burstable",), "BestEffort": ("besteffort",)}
"""A pod's quality of service to the levels between `kubepods` and the pod."""


@dataclass(frozen=True, slots=True)
class CgroupNames:
    """The names of one node's cgroups; `systemd` is the driver."""

    cluster: str
    node: str
    systemd: bool

    def levels(self) -> tuple[str, ...]:
        """The cgroup of everything on the node, and those above it, which other nodes on the machine share."""
        path = ("covey", self.cluster, self.node)
        return tuple(self._name(*path[:depth]) for depth in (3, 2, 1))

    def of_class(self, qos: str) -> str:
        """The parent of the pods of one quality of service; for `Guaranteed` that is `kubepods` itself."""
        return self._name("covey", self.cluster, self.node, "kubepods", *_CLASSES[qos])

    def of_pod(self, uid: str, qos: str) -> str:
        """The pod's cgroup: what its containers are given as their parent."""
        return self._name("covey", self.cluster, self.node, "kubepods", *_CLASSES[qos], f"pod{uid}")

    def classes(self) -> tuple[str, ...]:
        """The parents of all pods."""
        return tuple(self.of_class(qos) for qos in _CLASSES)

    def uid(self, directory: str) -> str:
        """The UID of the pod whose cgroup has this last name, "" if it is none's."""
        plain = directory.removesuffix(SLICE).rpartition("-")[2].replace("_", "-") if self.systemd else directory
        return plain.removeprefix("pod") if plain.startswith("pod") else ""

    def _name(self, *levels: str) -> str:
        if self.systemd:
            return "-".join(level.replace("-", "_") for level in levels) + SLICE
        return "/" + "/".join(levels)


def path_of(cgroup: str) -> str:
    """Where a cgroup lies below a hierarchy's root: `/a/b` at a/b, `a-b.slice` at a.slice/a-b.slice."""
    if not cgroup.endswith(SLICE):
        return cgroup.strip("/")
    levels = cgroup.removesuffix(SLICE).split("-")
    return "/".join("-".join(levels[: depth + 1]) + SLICE for depth in range(len(levels)))
