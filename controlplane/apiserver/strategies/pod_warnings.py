"""Warnings about pods and pod templates: what is accepted, but hardly meant.

Source: pkg/api/pod/warnings.go of Kubernetes 1.36.
"""

from __future__ import annotations

from collections.abc import Iterator

from controlplane.apiserver.strategies import causes
from mesh.objects import quantity
from mesh.objects.types import Object

_BYTES = ("memory", "ephemeral-storage")


def pod_spec_warnings(spec: Object, path: str) -> list[str]:
    """Sentences about a spec that has passed validation."""
    found: list[str] = []
    if spec.get("terminationGracePeriodSeconds", 0) < 0:
        at = f"{path}.terminationGracePeriodSeconds"
        found.append(f"{at}: must be >= 0; negative values are invalid and will be treated as 1")
    for position, secret in enumerate(spec.get("imagePullSecrets") or ()):
        if not secret.get("name"):
            found.append(f'{causes.index(f"{path}.imagePullSecrets", position)}: invalid empty name ""')
    for field in ("initContainers", "containers"):
        for position, container in enumerate(spec.get(field) or ()):
            found += _container_warnings(container, causes.index(f"{path}.{field}", position))
    return found


def _container_warnings(container: Object, path: str) -> Iterator[str]:
    seen: set[str] = set()
    for position, variable in enumerate(container.get("env") or ()):
        name = variable.get("name", "")
        if name in seen:
            at = causes.index(f"{path}.env", position)
            yield f"{at}: hides previous definition of {causes.quote(name)}, which may be dropped when using apply"
        seen.add(name)
    ports: dict[tuple[int, str, int, str], int] = {}
    for position, port in enumerate(container.get("ports") or ()):
        key = (
            port.get("containerPort", 0), port.get("protocol", ""), port.get("hostPort", 0), port.get("hostIP", "")
        )  # fmt: skip
        if key in ports:
            yield f"{path}.ports[{position}]: duplicate port definition with {path}.ports[{ports[key]}]"
        ports.setdefault(key, position)
    resources = container.get("resources") or {}
    for part in ("limits", "requests"):
        for name in _BYTES:
            amount = (resources.get(part) or {}).get(name)
            if amount and quantity.parse(amount).nanos % quantity.NANOS:
                at = causes.key(f"{path}.resources.{part}", name)
                yield f"{at}: fractional byte value {causes.quote(amount)} is invalid, must be an integer"


def workload_warnings(obj: Object) -> list[str]:
    """Warnings about the template of a Deployment or ReplicaSet."""
    return pod_spec_warnings((obj["spec"].get("template") or {}).get("spec") or {}, "spec.template.spec")
