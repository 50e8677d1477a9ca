"""Keeps the Node object and its Lease in the API: registers, reports status when it changes, renews the Lease.

https://kubernetes.io/docs/concepts/architecture/nodes/#heartbeats. The heartbeats that matter for failover go over the
bus (`agents.node.heartbeat`); these writes are for clients that look.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from datetime import datetime, timedelta

from agents.node.machine import Machine, PressureReader
from agents.node.node_status import IDENTITY, conditions_of, differs, new_node, node_status
from agents.node.ports import Image, Runtime, RuntimeFailure, RuntimeInfo
from mesh.api.port import STRATEGIC_MERGE_PATCH
from mesh.client.client import Client
from mesh.client.informer import Informer
from mesh.clock import Clock
from mesh.config import AgentConfig
from mesh.errors import AlreadyExists, ApiError, NotFound
from mesh.objects.kinds import LEASES, NODES
from mesh.objects.meta import Key, annotations_of, format_micro_time, labels_of, uid_of
from mesh.objects.types import Object

log = logging.getLogger(__name__)

LEASE_NAMESPACE = "kube-node-lease"
LEASE_SECONDS = 40
RENEW_SECONDS = 10.0
LOOK_SECONDS = 10.0
UNWELL_LOOK_SECONDS = 1.0
"""After a look that found something wrong: what is mended is to be said soon."""
REPORT_EVERY = timedelta(minutes=5)


class Registration:
    """One node's presence in the API. `nodes` is an informer of this one Node."""

    def __init__(
        self,
        config: AgentConfig,
        *,
        client: Client,
        nodes: Informer,
        runtime: Runtime,
        machine: Machine,
        pressure: PressureReader,
        identity: str,
        clock: Clock,
        silenced: Callable[[], bool],
    ) -> None:
        """`silenced` tells whether it is the controller that says whether this node is ready (`touch.py`)."""
        self._config = config
        self._client = client
        self._nodes = nodes
        self._runtime = runtime
        self._machine = machine
        self._pressure = pressure
        self._identity = identity
        self._clock = clock
        self._silenced = silenced
        self._reported_at: datetime | None = None
        self._bell = asyncio.Event()
        self.on_node: list[Callable[[Object], None]] = []
        """Called with the Node whenever it is seen to have changed."""
        nodes.add_handler(self._seen)

    def _seen(self, old: Object | None, new: Object | None) -> None:
        if new is not None:
            for told in self.on_node:
                told(new)
        if new is None or old is None or old["spec"] != new["spec"]:
            self._bell.set()

    def ring(self) -> None:
        """Look at once."""
        self._bell.set()

    async def run(self) -> None:
        """Register, then report and renew until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._report_forever())
            tasks.create_task(self._renew_forever())

    async def _report_forever(self) -> None:
        await self._nodes.synced()
        while True:
            self._bell.clear()
            try:
                wait = LOOK_SECONDS if await self._report() else UNWELL_LOOK_SECONDS
            except ApiError as error:
                log.warning("node.report_failed node=%s reason=%s", self._config.node, error)
                wait = UNWELL_LOOK_SECONDS
            try:
                async with asyncio.timeout(wait):
                    await self._bell.wait()
            except TimeoutError:
                pass

    async def _report(self) -> bool:
        """One look: register when the Node is not there, correct what is ours, write the status if it says more. Whether
        the runtime answered."""
        node = self._nodes.get(Key("", self._config.node))
        if node is None:
            node = await self._register()
        await self._correct(node)
        if self._silenced():
            return True  # what we are is not ours to say now
        old: Object = node.get("status") or {}
        info, images, problem = await self._ask_runtime()
        now = self._clock.now()
        network_ready = bool(node["spec"].get("podCIDRs") or node["spec"].get("podCIDR"))
        conditions = conditions_of(self._pressure(), runtime_error=problem, network_ready=network_ready)
        status = node_status(self._config, self._machine, conditions, images, info, old=old, now=now)
        due = self._reported_at is None or now - self._reported_at >= REPORT_EVERY
        if differs(status, old) or due:
            body = {"metadata": {"uid": uid_of(node)}, "status": status}
            await self._client.patch(
                NODES, self._config.node, "", body, content_type=STRATEGIC_MERGE_PATCH, subresource="status"
            )
            self._reported_at = now
        return not problem

    async def _register(self) -> Object:
        node = new_node(self._config, self._machine, self._identity)
        try:
            created = await self._client.create(NODES, node)
            log.info("node.registered node=%s", self._config.node)
        except AlreadyExists:
            return await self._client.get(NODES, self._config.node)
        return created

    async def _correct(self, node: Object) -> None:
        """Our own labels and the identity, when somebody (or an older agent) left others."""
        wanted = new_node(self._config, self._machine, self._identity)["metadata"]
        labels = {k: v for k, v in wanted["labels"].items() if labels_of(node).get(k) != v}
        identity = wanted["annotations"].get(IDENTITY)
        patch: Object = {"labels": labels} if labels else {}
        if identity and annotations_of(node).get(IDENTITY) != identity:
            patch["annotations"] = {IDENTITY: identity}
        if patch:
            await self._client.patch(NODES, self._config.node, "", {"metadata": patch})

    async def _ask_runtime(self) -> tuple[RuntimeInfo | None, list[Image], str]:
        try:
            return await self._runtime.info(), await self._runtime.images(), ""
        except RuntimeFailure as error:
            return None, [], error.message

    async def _renew_forever(self) -> None:
        while True:
            try:
                await self._renew()
            except ApiError as error:
                log.debug("node.lease_failed node=%s reason=%s", self._config.node, error)
            await asyncio.sleep(RENEW_SECONDS)

    async def _renew(self) -> None:
        stamp = format_micro_time(self._clock.now())
        spec = {
            "holderIdentity": self._config.node,
            "leaseDurationSeconds": LEASE_SECONDS,
            "renewTime": stamp,
        }
        try:
            await self._client.patch(LEASES, self._config.node, LEASE_NAMESPACE, {"spec": spec})
        except NotFound:
            metadata: Object = {"name": self._config.node, "namespace": LEASE_NAMESPACE}
            node = self._nodes.get(Key("", self._config.node))
            if node is not None:
                owner = {"apiVersion": "v1", "kind": "Node", "name": self._config.node, "uid": uid_of(node)}
                metadata["ownerReferences"] = [owner]
            lease = {"apiVersion": LEASES.api_version, "kind": "Lease", "metadata": metadata, "spec": spec}
            await self._client.create(LEASES, lease)
