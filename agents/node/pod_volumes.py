"""Sets up a pod's volumes, hosts and resolv.conf through `PodFiles`, and keeps projected files up to date."""

from __future__ import annotations

from collections.abc import Mapping

from agents.node.context import NodeContext
from agents.node.expansion import expand_strictly
from agents.node.name_resolution import hosts_file, resolv_conf
from agents.node.objects import Reference
from agents.node.podspec import host_network
from agents.node.ports import Mount
from agents.node.security import ConfigError
from agents.node.volumes import (
    IN_MEMORY,
    PROJECTING,
    TokenNeed,
    VolumeError,
    all_references,
    kind_of,
    mounted_volumes,
    payload,
    token_needs,
    volumes_of,
)
from mesh.errors import ApiError, Unavailable
from mesh.objects.meta import namespace_of, uid_of
from mesh.objects.quantity import to_int
from mesh.objects.types import Object

PROPAGATION = {"HostToContainer": "rslave", "Bidirectional": "rshared"}


class PodVolumes:
    """The volumes of one pod. `paths` maps a volume's name to its host path once `prepare` has returned."""

    def __init__(self, context: NodeContext) -> None:
        self._context = context
        self.paths: dict[str, str] = {}

    def references(self, pod: Object) -> list[Reference]:
        """Every ConfigMap and Secret the pod names, in environment or volumes."""
        return [Reference(kind, namespace_of(pod), name) for kind, name in sorted(all_references(pod))]

    async def lookup(self, pod: Object) -> Mapping[tuple[str, str], Object | None]:
        """Those objects as they are now. Raises `Unavailable`."""
        found = await self._context.objects.fetch(uid_of(pod), self.references(pod))
        return {(reference.kind, reference.name): obj for reference, obj in found.items()}

    async def prepare(self, pod: Object, status: Object) -> None:
        """Make every volume. Raises `VolumeError`, or `Unavailable` when what it needs cannot be read."""
        files, uid = self._context.files, uid_of(pod)
        objects = await self.lookup(pod)
        tokens = await self._tokens(pod) if not files.prepared(uid) else {}
        group = self._group(pod)
        unknown = mounted_volumes(pod) - {v["name"] for v in volumes_of(pod)}
        if unknown:
            raise VolumeError(min(unknown), "the pod has no volume of this name")
        for volume in volumes_of(pod):
            name, kind = volume["name"], kind_of(volume)
            source = volume.get(kind) or {}
            if kind in PROJECTING:
                if files.prepared(uid) and any(need.volume == name for need in token_needs(pod)):
                    continue  # adopted: its files are there, and are renewed by `refresh`
                content = payload(
                    pod,
                    volume,
                    lambda k, n: objects.get((k, n)),
                    tokens,
                    status=status,
                    allocatable=self._context.allocatable,
                )
                self.paths[name] = files.project(uid, name, content, memory=kind in IN_MEMORY, group=group)
            elif kind == "emptyDir":
                memory = source.get("medium") == "Memory"
                size = to_int(source["sizeLimit"]) if source.get("sizeLimit") else None
                self.paths[name] = files.empty_dir(uid, name, memory=memory, size=size, group=group)
            elif kind == "hostPath":
                self.paths[name] = files.host_path(name, source["path"], source.get("type") or "")
            else:
                raise VolumeError(name, f"volumes of type {kind} are not supported by this node")
        self.write_resolver(pod)
        files.mark_prepared(uid)

    async def refresh(self, pod: Object, status: Object) -> None:
        """Bring projected files up to date; an object that has vanished leaves them as they are."""
        objects = await self.lookup(pod)
        tokens = await self._tokens(pod)
        for volume in volumes_of(pod):
            name, kind = volume["name"], kind_of(volume)
            if kind in PROJECTING:
                content = payload(
                    pod,
                    volume,
                    lambda k, n: objects.get((k, n)),
                    tokens,
                    status=status,
                    allocatable=self._context.allocatable,
                )
                self.paths[name] = self._context.files.project(
                    uid_of(pod), name, content, memory=kind in IN_MEMORY, group=self._group(pod)
                )

    async def _tokens(self, pod: Object) -> Mapping[TokenNeed, str]:
        try:
            return await self._context.tokens.fetch(pod)
        except Unavailable:
            raise
        except ApiError as error:
            name = next((need.volume for need in token_needs(pod)), "")
            raise VolumeError(name, f"failed to fetch token: {error}") from error

    def _group(self, pod: Object) -> int | None:
        group = (pod["spec"].get("securityContext") or {}).get("fsGroup")
        return None if group is None else int(group)

    def write_resolver(self, pod: Object) -> None:
        """The pod's resolv.conf."""
        network = self._context.config.network
        text = resolv_conf(pod, network.dns_address, network.cluster_domain, self._context.node_resolv_conf)
        self._context.files.write(uid_of(pod), "resolv.conf", text)

    def write_hosts(self, pod: Object, addresses: tuple[str, ...]) -> None:
        """The pod's hosts file, once its addresses are known."""
        domain = self._context.config.network.cluster_domain
        self._context.files.write(uid_of(pod), "hosts", hosts_file(pod, addresses, domain, self._context.node_hosts))

    def mounts(
        self, pod: Object, container: Object, variables: Mapping[str, str], addresses: tuple[str, ...]
    ) -> tuple[Mount, ...]:
        """Everything to mount into one container. Raises `ConfigError` or `VolumeError`."""
        files, uid = self._context.files, uid_of(pod)
        result: list[Mount] = []
        targets = set()
        projected = {volume["name"] for volume in volumes_of(pod) if kind_of(volume) in PROJECTING}
        for index, entry in enumerate(container.get("volumeMounts") or ()):
            base = self.paths.get(entry["name"]) or self._adopted(pod, entry["name"])
            sub = entry.get("subPath") or ""
            if expression := entry.get("subPathExpr"):
                try:
                    sub = expand_strictly(expression, variables)
                except KeyError as error:
                    raise ConfigError(f"missing value for {error.args[0]!r} in subPathExpr {expression!r}") from error
            mount = f"{container['name']}-{index}"
            source = files.sub_path(uid, mount, entry["name"], base, sub) if sub else base
            propagation = PROPAGATION.get(entry.get("mountPropagation") or "", "")
            # What we project is ours to write: a pod that could would choose where our next write goes.
            read_only = bool(entry.get("readOnly")) or entry["name"] in projected
            result.append(Mount(source, entry["mountPath"], read_only, propagation))
            targets.add(entry["mountPath"])
        if "/etc/hosts" not in targets and not (host_network(pod) and not self._context.node_hosts):
            self.write_hosts(pod, addresses)
            result.append(Mount(files.path(uid, "hosts"), "/etc/hosts"))
        if "/etc/resolv.conf" not in targets:
            result.append(Mount(files.path(uid, "resolv.conf"), "/etc/resolv.conf"))
        return tuple(result)

    def _adopted(self, pod: Object, volume: str) -> str:
        """The path of a volume that an earlier run of the agent prepared."""
        for known in volumes_of(pod):
            if known["name"] == volume and kind_of(known) == "hostPath":
                return str(known["hostPath"]["path"])
        return self._context.files.path(uid_of(pod), f"volumes/{volume}")
