"""The real `PodNetwork`: gives sandboxes an address and a veth, through rtnetlink.

All state lives in the kernel and in the ledger file; this object can be thrown away and made anew at any time.
"""

from __future__ import annotations

import asyncio
import errno
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path

from agents.network import addresses, ledger_file, names
from agents.network.addresses import Exhausted, Ledger
from agents.network.items import PROTOCOL_PODS, Item, Sysctl, Up
from agents.network.messages import KernelRefusal, index_of
from agents.network.netlink import Netlink, read_sysctls
from agents.network.pods import NOTHING, Observed, Plan, Wiring, in_pod, on_node, plan_attach
from agents.network.worker import Worker
from agents.node.network_port import NetworkFailure, PodAddresses
from agents.node.sysctls import NONE as NO_SYSCTLS
from agents.node.sysctls import path_of
from mesh import netns as namespaces

log = logging.getLogger(__name__)


class KernelPodNetwork:
    """Implements `agents.node.network_port.PodNetwork` on this node's kernel.

    `worker` lives in the node's namespace; `node_addresses` are the node's own, one per family; `mtu` is that of the
    link between nodes. `attach` waits until the node's pod CIDRs are known: from `configure`, or from the ledger of an
    earlier run. `machine` is where the machine's own namespace is bound, if the node has another.
    """

    def __init__(
        self, worker: Worker, *, state_dir: Path, node_addresses: Sequence[str], mtu: int, machine: Path
    ) -> None:
        self._worker = worker
        self._machine = machine
        self._file = state_dir / "network" / "addresses.json"
        self._node_addresses = tuple(node_addresses)
        self._mtu = mtu
        self._ledger: Ledger | None = None
        self._leaving: set[str] = set()
        self._ready = asyncio.Event()

    async def start(self) -> None:
        """Read the ledger and what the kernel shows; call it once, before anything else."""
        await self._worker.run(self._adopt)
        if self._known.cidrs:
            self._ready.set()

    async def configure(self, pod_cidrs: Sequence[str]) -> None:
        """The node's pod CIDRs (`spec.podCIDRs` of its Node), primary first. Pods keep the addresses they have."""
        if pod_cidrs:
            await self._worker.run(self._save_cidrs, tuple(pod_cidrs))
            self._ready.set()

    async def attach(self, sandbox_id: str, netns: str, sysctls: Mapping[str, str] = NO_SYSCTLS) -> PodAddresses:
        """Wire the namespace at path `netns`, set `sysctls` there; the same sandbox gets the same addresses again. Raises
        `NetworkFailure` when no address is free, the namespace is gone or not a pod's own, or the kernel refuses."""
        await self._ready.wait()
        items = tuple(Sysctl(path_of(name), value) for name, value in sysctls.items())
        return PodAddresses(await self._worker.run(self._attach, sandbox_id, netns, items))

    async def detach(self, sandbox_id: str) -> None:
        """Remove the veth and give back the addresses."""
        self._leaving.add(sandbox_id)
        await self._worker.run(self._detach_leaving)

    async def retain(self, sandbox_ids: frozenset[str]) -> None:
        """Detach every sandbox, in the ledger or in the kernel, that is not named. Raises `NetworkFailure`."""
        await self._worker.run(self._retain, sandbox_ids)

    @property
    def _known(self) -> Ledger:
        if self._ledger is None:
            raise NetworkFailure("the pod network is not started")
        return self._ledger

    def _keep(self, ledger: Ledger) -> None:
        if ledger != self._ledger:
            ledger_file.save(self._file, ledger)
            self._ledger = ledger

    def _adopt(self) -> None:
        ledger = ledger_file.load(self._file) or Ledger()
        with Netlink() as kernel:
            sandboxes = _sandboxes_in(kernel)
            held: dict[str, tuple[str, ...]] = {}
            for route in kernel.routes(protocol=PROTOCOL_PODS):
                if sandbox := sandboxes.get(route.device):
                    held[sandbox] = (*held.get(sandbox, ()), route.destination.rpartition("/")[0])
        self._ledger = addresses.adopt(ledger, held)

    def _save_cidrs(self, cidrs: tuple[str, ...]) -> None:
        self._keep(addresses.configure(self._known, cidrs))

    def _attach(self, sandbox_id: str, netns: str, sysctls: tuple[Sysctl, ...]) -> tuple[str, ...]:
        self._refuse_others(netns)
        try:
            ledger, given = addresses.allocate(self._known, sandbox_id)
            self._keep(ledger)
            wiring = Wiring(sandbox_id, netns, given, self._node_addresses, self._mtu, sysctls)
            with Netlink() as kernel:
                plan = plan_attach(wiring, _observe(kernel, wiring))
                _apply_on_node(kernel, wiring, plan)
                if plan.pod:
                    with namespaces.within(netns), Netlink() as inside:
                        inside.apply(plan.pod)
            return given
        except (Exhausted, KernelRefusal, OSError) as error:
            raise NetworkFailure(f"failed to set up network for sandbox {sandbox_id!r}: {error}") from error

    def _refuse_others(self, netns: str) -> None:
        """A sandbox that has not moved into a namespace of its own yet, or never will, is in the machine's or the node's:
        wiring it would take their eth0 from them. (Another process' namespace is not always ours to look at.)"""
        for other in ("/proc/thread-self/ns/net", "/proc/1/ns/net", self._machine):
            if namespaces.same(netns, other):
                raise NetworkFailure(f"failed to set up network: {netns} is no pod's namespace, but that of {other}")

    def _detach_leaving(self) -> None:
        """All that have gathered while the worker was busy go together, and with them what could not be detached before."""
        gathered = frozenset(self._leaving)
        if not gathered:
            return
        try:
            self._detach(gathered)
        except (KernelRefusal, OSError) as error:
            raise NetworkFailure(f"failed to tear down network for {', '.join(sorted(gathered))}: {error}") from error
        self._leaving -= gathered

    def _detach(self, sandbox_ids: frozenset[str]) -> None:
        """The link goes first: an address is free only when nothing leads to its old holder any more."""
        with Netlink() as kernel:
            kernel.remove_links(names.pod_link(sandbox_id) for sandbox_id in sandbox_ids)
        ledger = addresses.release(self._known, sandbox_ids)
        try:
            self._keep(ledger)
        except OSError as error:
            # A full disk: the file names too many holders until the next address is given out, which has to be written.
            log.warning("network.ledger_not_written reason=%s", error)
            self._ledger = ledger

    def _retain(self, sandbox_ids: frozenset[str]) -> None:
        try:
            with Netlink() as kernel:
                there = frozenset(_sandboxes_in(kernel).values())
        except (KernelRefusal, OSError) as error:
            raise NetworkFailure(f"failed to list the network of earlier sandboxes: {error}") from error
        self._leaving |= (there | frozenset(self._known.holders)) - sandbox_ids
        self._detach_leaving()


def _apply_on_node(kernel: Netlink, wiring: Wiring, plan: Plan) -> None:
    """The node's side of a plan. An eth0 that is in the pod already leads into a namespace that was the node's before
    it was made anew, and lives on for as long as some process is in it."""
    try:
        kernel.apply(plan.node)
    except KernelRefusal as error:
        if error.errno != errno.EEXIST:
            raise
        with namespaces.within(wiring.netns), Netlink() as inside:
            inside.remove_links([names.POD_INTERFACE])
        kernel.apply(plan.node)


def _sandboxes_in(kernel: Netlink) -> dict[str, str]:
    """Sandbox ids by the name of their link, as the links' aliases tell."""
    found = ((link["name"], names.sandbox_of(link["alias"])) for link in kernel.links())
    return {name: sandbox for name, sandbox in found if sandbox}


def _observe(kernel: Netlink, wiring: Wiring) -> Observed:
    """What exists of this pod's wiring. A fresh pod has no link, and costs no look at anything else."""
    name = wiring.link.name
    index = index_of(name)
    if not index:
        return NOTHING
    links = kernel.link_items(name)
    routes = kernel.routes(device=name, protocol=PROTOCOL_PODS)
    node: tuple[Item, ...] = (
        *(links or [wiring.link]),
        *routes,
        *kernel.neighbours(name),
        *read_sysctls(on_node(wiring)),
    )
    with namespaces.within(wiring.netns), Netlink() as inside:
        inner = {link["name"]: link for link in inside.links()}
        eth0 = inner.get(names.POD_INTERFACE)
        if not links or eth0 is None or eth0["peer"] != index or eth0["kind"] != "veth":
            return Observed(node, (), joined=False)
        wanted = in_pod(wiring)
        ups = [Up(name) for name, link in inner.items() if link["up"]]
        everything: tuple[Item, ...] = (
            *ups,
            *inside.addresses(names.POD_INTERFACE),
            *inside.routes(),
            *inside.neighbours(names.POD_INTERFACE),
            *read_sysctls(wanted),
        )
        pod = tuple(item for item in everything if item in wanted)  # what else a pod has inside is its own affair
    return Observed(node, pod, joined=True)
