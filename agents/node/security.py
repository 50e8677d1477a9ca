"""The security context as the runtime enforces it. https://kubernetes.io/docs/tasks/configure-pod-container/security-context/

A container's own context wins over its pod's. Pure.
"""

from __future__ import annotations

from agents.node.podspec import app_containers, full_name, init_containers
from agents.node.ports import Image, Security
from mesh.objects.types import Object


class ConfigError(ValueError):
    """The container cannot be configured as its spec asks; the message is kubelet's (CreateContainerConfigError)."""


def effective(pod: Object, container: Object, field: str) -> object:
    """A field of the container's securityContext, or of its pod's; None when neither names it."""
    own = (container.get("securityContext") or {}).get(field)
    return own if own is not None else (pod["spec"].get("securityContext") or {}).get(field)


def security(pod: Object, container: Object) -> Security:
    """What the runtime has to enforce for this container."""
    context = container.get("securityContext") or {}
    pod_context = pod["spec"].get("securityContext") or {}
    capabilities = context.get("capabilities") or {}
    groups = [int(g) for g in pod_context.get("supplementalGroups") or ()]
    if pod_context.get("fsGroup") is not None:
        groups.append(int(pod_context["fsGroup"]))
    seccomp = effective(pod, container, "seccompProfile")
    privileged = bool(context.get("privileged"))
    # Kubernetes' default is Unconfined; Docker's own profile applies only where RuntimeDefault is asked for.
    confined = isinstance(seccomp, dict) and seccomp.get("type") == "RuntimeDefault"
    return Security(
        user=_user(pod, container),
        groups=tuple(dict.fromkeys(groups)),
        privileged=privileged,
        read_only_root=bool(context.get("readOnlyRootFilesystem")),
        no_new_privileges=context.get("allowPrivilegeEscalation") is False,
        add_capabilities=tuple(capabilities.get("add") or ()),
        drop_capabilities=tuple(capabilities.get("drop") or ()),
        seccomp_unconfined=not confined,
    )


def _user(pod: Object, container: Object) -> str:
    user, group = effective(pod, container, "runAsUser"), effective(pod, container, "runAsGroup")
    if user is None:
        return ""
    return f"{user}" if group is None else f"{user}:{group}"


def only_user(pod: Object) -> int | None:
    """The user as whom all of the pod's containers run; None when one of them names none, or another."""
    users = {effective(pod, container, "runAsUser") for container in (*app_containers(pod), *init_containers(pod))}
    user = users.pop()
    return None if users or user is None else int(str(user))


def check_non_root(pod: Object, container: Object, image: Image) -> None:
    """Raise `ConfigError` when runAsNonRoot is asked for and the process would be root, or might be."""
    if not effective(pod, container, "runAsNonRoot"):
        return
    where = f'(pod: "{full_name(pod)}", container: {container["name"]})'
    user = effective(pod, container, "runAsUser")
    if user is not None:
        if int(str(user)) == 0:
            raise ConfigError(f"container's runAsUser breaks non-root policy {where}")
        return
    name = image.user.split(":", 1)[0]
    if name in {"", "0", "root"}:
        raise ConfigError(f"container has runAsNonRoot and image will run as root {where}")
    if not name.isdigit():
        raise ConfigError(
            f"container has runAsNonRoot and image has non-numeric user ({name}), "
            f"cannot verify user is non-root {where}"
        )
