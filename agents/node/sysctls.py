"""The sysctls that a pod asks for, and which namespace they belong to. Pure.

Those of the network namespace are set by the pod network when it wires the sandbox, so that any sandbox can have them; the
rest has to be given to the sandbox when it is made. Which name says what: sysctl(8), and
https://kubernetes.io/docs/tasks/administer-cluster/sysctl-cluster/.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from mesh.objects.types import Object

NONE: Final[Mapping[str, str]] = MappingProxyType({})
_NETWORK: Final = ("net.", "net/")


def of_pod(pod: Object) -> dict[str, str]:
    """`spec.securityContext.sysctls`, values by name as the pod writes them."""
    return {s["name"]: s["value"] for s in (pod["spec"].get("securityContext") or {}).get("sysctls") or ()}


def of_network(sysctls: Mapping[str, str]) -> dict[str, str]:
    """Those that are a network namespace's own."""
    return {name: value for name, value in sysctls.items() if name.startswith(_NETWORK)}


def of_others(sysctls: Mapping[str, str]) -> dict[str, str]:
    """Those that are not."""
    return {name: value for name, value in sysctls.items() if not name.startswith(_NETWORK)}


def path_of(name: str) -> str:
    """The file below /proc/sys. The first separator tells which of "." and "/" separates; the other is part of a name
    ("net.ipv4.conf.eth0/1.forwarding")."""
    first = next((character for character in name if character in "./"), "/")
    return name if first == "/" else name.translate(str.maketrans("./", "/."))
