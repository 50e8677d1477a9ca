"""Sandboxes: pause containers that hold a pod's network and IPC namespaces; cold ones, and a pool of warm ones.

A warm sandbox runs and is wired before any pod wants it. It serves every pod that asks for nothing but a hostname
(which its containers get by themselves, entry.py) and settings of its network; what asks for the host's namespaces or for
other sysctls gets a cold one.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
from collections import deque
from pathlib import Path
from typing import Final

from agents.node import sysctls
from agents.node.network_port import NetworkFailure, PodNetwork
from agents.node.ports import RuntimeFailure, SandboxSpec, SandboxStatus, State
from agents.node.runtimes import translate
from agents.node.runtimes.binaries import ISOLATED
from agents.node.runtimes.claims import Claim, Claims
from agents.node.runtimes.engine import Engine, Parameters, Refused
from agents.node.runtimes.labels import POD_UID, SANDBOX, Owner
from agents.node.runtimes.pause import ensure_pause_image
from mesh.errors import CoveyError
from mesh.objects.types import Json

log = logging.getLogger(__name__)

_QUIET_SECONDS: Final = 0.2
_RETRY_SECONDS: Final = 5.0
_ISOLATION_SECONDS: Final = 10.0
_ISOLATION_LOOK_SECONDS: Final = 0.002


class Sandboxes:
    """All sandboxes of one node."""

    def __init__(self, engine: Engine, owner: Owner, claims: Claims, node: translate.Host) -> None:
        self._engine = engine
        self._owner = owner
        self._claims = claims
        self._node = node
        self._of_pod: dict[str, str] = {}
        """Sandbox of each pod that we made or saw: asked again for the same pod, it is the answer."""
        self._warm: deque[SandboxStatus] = deque()
        self._dead: list[str] = []
        """Warm sandboxes that ended before anybody took them; the keeper removes them."""
        self._wanted = asyncio.Event()
        self._keeper: asyncio.Task[None] | None = None
        self.starting = 0
        """How many pods are being started right now: making warm sandboxes waits for them."""

    async def create(self, spec: SandboxSpec) -> SandboxStatus:
        """See `Runtime.create_sandbox`. The pod's own running sandbox, if there is one, is the answer."""
        existing = await self._existing(spec)
        status = existing or self._take(spec) or await self._create_cold(spec)
        self._of_pod[spec.pod_uid] = status.id
        return status

    async def _existing(self, spec: SandboxSpec) -> SandboxStatus | None:
        """The pod's running sandbox, if we know of one."""
        sandbox_id = self._of_pod.get(spec.pod_uid, "")
        inspected = await self._inspect(sandbox_id) if sandbox_id else None
        if inspected is not None and inspected["State"]["Status"] == "running":
            return await self._ready(inspected, isolated=not spec.host_network)
        return None

    async def _create_cold(self, spec: SandboxSpec) -> SandboxStatus:
        name = self._owner.sandbox_name(spec.pod_uid)
        body = translate.sandbox_body(self._owner, spec, self._node)
        try:
            sandbox_id = await self._create(name, body)
        except Refused as refused:
            if refused.status != 409:
                raise refused.because("CreatePodSandboxError") from refused
            existing = await self._engine.request("GET", f"/containers/{name}/json")
            if existing["State"]["Status"] == "running":
                return await self._ready(existing, isolated=not spec.host_network)
            await self.remove(existing["Id"])  # left over from a crash, or ended
            sandbox_id = await self._create(name, body)
        return await self._start(sandbox_id, isolated=not spec.host_network)

    async def remove(self, sandbox_id: str) -> None:
        """Kill and remove a sandbox and what still runs in it; gone already is fine."""
        self._warm = deque(status for status in self._warm if status.id != sandbox_id)
        listed = await self._engine.request(
            "GET", "/containers/json", params={"filters": self._owner.filters(sandbox=sandbox_id)}
        )
        await asyncio.gather(*(self._kill(entry["Id"]) for entry in listed))
        try:
            await self._engine.request("DELETE", f"/containers/{sandbox_id}", params={"force": 1, "v": 1})
        except Refused as refused:
            if refused.status not in {404, 409}:  # 409: its removal is under way
                raise
        self._claims.drop(sandbox_id)
        self._of_pod = {pod: known for pod, known in self._of_pod.items() if known != sandbox_id}

    async def all(self) -> list[SandboxStatus]:
        """Every sandbox, ended and warm ones too."""
        params: Parameters = {"all": 1, "filters": self._owner.filters(kind="sandbox")}
        listed = await self._engine.request("GET", "/containers/json", params=params)
        inspected = await asyncio.gather(*(self._inspect(entry["Id"]) for entry in listed))
        statuses = [self._status(answer) for answer in inspected if answer is not None]
        self._of_pod = {s.pod_uid: s.id for s in statuses if s.pod_uid and s.state is State.RUNNING}
        return statuses

    def pod_of(self, sandbox_id: str, labels: dict[str, str]) -> str:
        """UID of the pod a sandbox belongs to, "" for a warm one."""
        claim = self._claims.get(sandbox_id)
        return claim.pod_uid if claim is not None else labels.get(POD_UID, "")

    # The pool of warm ones.

    async def keep_warm(self, network: PodNetwork, count: int) -> None:
        """Take over the warm sandboxes that are there, and keep `count` of them from now on, in the background. May be
        called again when it failed, with `RuntimeFailure` or `NetworkFailure`."""
        await self._adopt(network, count)
        self._keeper = asyncio.create_task(self._keep(network, count), name="warm sandboxes")

    async def close(self) -> None:
        """Stop making warm ones; those there stay for the next agent."""
        if self._keeper is not None:
            self._keeper.cancel()
            await asyncio.gather(self._keeper, return_exceptions=True)
            self._keeper = None

    def _take(self, spec: SandboxSpec) -> SandboxStatus | None:
        """Claim a warm sandbox for this pod, if it asks for nothing special and one is alive."""
        if spec.host_network or spec.host_pid or spec.host_ipc or sysctls.of_others(spec.sysctls):
            return None
        while self._warm:
            status = self._warm.popleft()
            self._wanted.set()
            if not Path(status.netns).exists():
                self._dead.append(status.id)
                continue
            labels = {**status.labels, **self._owner.sandbox_labels(spec)}
            self._claims.put(status.id, Claim(spec.pod_uid, labels))
            return SandboxStatus(
                id=status.id,
                pod_uid=spec.pod_uid,
                state=status.state,
                pid=status.pid,
                netns=status.netns,
                created_at=status.created_at,
                labels=labels,
            )
        return None

    async def _adopt(self, network: PodNetwork, count: int) -> None:
        """Find the warm sandboxes of an earlier agent; remove dead ones, and claims on what is gone."""
        self._warm.clear()  # those that were adopted before a failure are found again
        existing = await self.all()
        params: Parameters = {"all": 1, "filters": self._owner.filters(kind="container")}
        listed = await self._engine.request("GET", "/containers/json", params=params)
        tenants = {entry["Labels"].get(SANDBOX, ""): entry["Labels"] for entry in listed}
        for status in existing:
            if status.pod_uid:
                continue
            if status.id in tenants:  # claimed once, its file lost: the containers know their pod
                self._claims.put(status.id, Claim(tenants[status.id].get(POD_UID, ""), tenants[status.id]))
            elif status.state is not State.RUNNING or len(self._warm) >= count:
                await self._discard(network, status.id)
            elif await self._rewire(network, status):
                self._warm.append(status)
            else:
                await self._discard(network, status.id)
        for sandbox_id in self._claims.sandboxes() - {status.id for status in existing}:
            self._claims.drop(sandbox_id)

    async def _rewire(self, network: PodNetwork, status: SandboxStatus) -> bool:
        """Whether an earlier agent's warm sandbox is of use: the node's namespace may be another by now, and what led
        into the old one cannot be made again."""
        try:
            await network.attach(status.id, status.netns)
        except NetworkFailure as error:
            log.warning("warm sandbox given up: %s", error)
            return False
        return True

    async def _keep(self, network: PodNetwork, count: int) -> None:
        """Fill up whenever one was taken, when no pod is being started (they go first)."""
        while True:
            while len(self._warm) < count or self._dead:
                await asyncio.sleep(_QUIET_SECONDS)
                if self.starting:
                    continue
                try:
                    while self._dead:
                        dead = self._dead[0]
                        await self._discard(network, dead)
                        self._dead.remove(dead)
                    if len(self._warm) < count:
                        await self._warm_up(network)
                except (CoveyError, OSError) as error:
                    log.warning("warm sandbox failed: %s", error)
                    await asyncio.sleep(_RETRY_SECONDS)
                except Exception:  # a fault of ours; without warm ones every pod would start slowly
                    log.exception("warm sandbox failed")
                    await asyncio.sleep(_RETRY_SECONDS)
            self._wanted.clear()
            await self._wanted.wait()

    async def _warm_up(self, network: PodNetwork) -> None:
        body = translate.sandbox_body(self._owner, None, self._node)
        sandbox_id = await self._create(self._owner.warm_name(secrets.token_hex(6)), body)
        try:
            status = await self._start(sandbox_id, isolated=True)
            await network.attach(status.id, status.netns)
        except BaseException:
            with contextlib.suppress(CoveyError):
                await asyncio.shield(self._discard(network, sandbox_id))
            raise
        self._warm.append(status)

    async def _discard(self, network: PodNetwork, sandbox_id: str) -> None:
        await network.detach(sandbox_id)
        await self.remove(sandbox_id)

    # One sandbox.

    async def _create(self, name: str, body: Json) -> str:
        try:
            answer = await self._engine.request("POST", "/containers/create", params={"name": name}, body=body)
        except Refused as refused:
            if refused.status != 404:  # no such image
                raise
            await ensure_pause_image(self._engine, self._node.pause_image)
            answer = await self._engine.request("POST", "/containers/create", params={"name": name}, body=body)
        return str(answer["Id"])

    async def _start(self, sandbox_id: str, *, isolated: bool) -> SandboxStatus:
        """Start it, and wait until it is `_ready`."""
        try:
            await self._engine.request("POST", f"/containers/{sandbox_id}/start")
        except Refused as refused:
            raise refused.because("CreatePodSandboxError") from refused
        inspected = await self._inspect(sandbox_id)
        if inspected is None:
            raise RuntimeFailure("CreatePodSandboxError", f"sandbox {sandbox_id} was removed while it started")
        return await self._ready(inspected, isolated=isolated)

    async def _ready(self, inspected: Json, *, isolated: bool) -> SandboxStatus:
        """A running sandbox once it is in a namespace of its own: what is wired before would be wired to the machine. One
        that does not get there is removed."""
        status = self._status(inspected)
        if isolated and not await _isolated(status):
            await self.remove(status.id)
            raise RuntimeFailure("CreatePodSandboxError", f"sandbox {status.id} got no network namespace of its own")
        return status

    async def _inspect(self, sandbox_id: str) -> Json:
        try:
            return await self._engine.request("GET", f"/containers/{sandbox_id}/json")
        except Refused as refused:
            if refused.status == 404:
                return None
            raise

    async def _kill(self, container_id: str) -> None:
        try:
            await self._engine.request("POST", f"/containers/{container_id}/kill")
        except Refused as refused:
            if refused.status not in {404, 409}:  # gone, or ended
                raise

    def _status(self, inspected: Json) -> SandboxStatus:
        labels = inspected["Config"].get("Labels") or {}
        claim = self._claims.get(inspected["Id"])
        if claim is not None:
            labels = {**labels, **claim.labels}
        return translate.sandbox_status(inspected, labels.get(POD_UID, ""), labels)


async def _isolated(sandbox: SandboxStatus) -> bool:
    """Whether the pause process has made its namespace: microseconds after its start. False when it ended or hangs."""
    for _ in range(round(_ISOLATION_SECONDS / _ISOLATION_LOOK_SECONDS)):
        name = _called(sandbox.pid)
        if name in {ISOLATED, ""}:
            return name == ISOLATED
        await asyncio.sleep(_ISOLATION_LOOK_SECONDS)
    return False


def _called(pid: int) -> str:
    """The name of a process; "" when it has ended."""
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip()
    except (FileNotFoundError, ProcessLookupError):
        return ""
