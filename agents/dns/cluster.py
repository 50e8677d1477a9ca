"""Cluster DNS of one node: the table kept from informers, the answers, and the server around them."""

from __future__ import annotations

import asyncio
import logging
import random
import socket
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

from agents.dns import memory, packets
from agents.dns.answers import Answer, Cluster, Outcome, answer
from agents.dns.forwarder import Forwarder, NoAnswer
from agents.dns.memory import Remembered
from agents.dns.packets import Question, Unanswerable
from agents.dns.resolvconf import Upstream, choose_upstreams
from agents.dns.server import DnsServer, open_sockets
from agents.dns.table import Table
from mesh import netns
from mesh.clock import Clock
from mesh.config import AgentConfig, NetworkConfig
from mesh.objects.meta import Key, key_of
from mesh.objects.types import Object

log = logging.getLogger(__name__)

SAVE_SECONDS = 10.0
_RESOLV_CONF = Path("/etc/resolv.conf")
_SYSTEMD_RESOLV_CONF = Path("/run/systemd/resolve/resolv.conf")


class Source(Protocol):
    """The part of an informer that cluster DNS needs."""

    @property
    def has_synced(self) -> bool:
        """Whether the first list is in."""

    async def synced(self) -> None:
        """Returns once the first list is in."""

    def get(self, key: Key) -> Object | None:
        """The object as last seen, or None."""

    def add_handler(self, handler: Callable[[Object | None, Object | None], None]) -> None:
        """Call `handler` with the old and the new state for every object known and every change to come."""


class ClusterResolver:
    """Answers packets from the table, and from others what is not the cluster's. Implements `server.Resolver`."""

    def __init__(self, cluster: Cluster, table: Table, complete: Callable[[], bool], forwarder: Forwarder) -> None:
        self._cluster = cluster
        self._table = table
        self._complete = complete
        self._forwarder = forwarder
        self._shift = 0

    def local(self, packet: bytes, limit: int) -> bytes | None:
        """The answer, unless others have to be asked."""
        try:
            question = packets.parse(packet)
        except Unanswerable as refusal:
            return refusal.reply
        found = self._answer(question)
        if found.outcome is Outcome.NOT_OURS or found.follow:
            return None
        self._shift += 1
        return packets.fit(packets.pack(question, found, shift=self._shift), limit or question.udp_bytes)

    async def remote(self, packet: bytes, limit: int, *, tcp: bool) -> bytes:
        """The answer of others; SERVFAIL when none of them answers."""
        question = packets.parse(packet)
        found = self._answer(question)
        try:
            if not found.follow:
                return await self._forwarder.ask(packet, tcp=tcp)
            there = await self._forwarder.ask(packets.query_like(question, found.follow), tcp=True)
            return packets.fit(packets.pack_followed(question, found, there), limit or question.udp_bytes)
        except NoAnswer as error:
            log.info("dns: %s %s: %s", question.kind, question.name, error, extra={"event": "dns.unanswered"})
            return packets.failure(question, packets.SERVER_FAILURE)

    def _answer(self, question: Question) -> Answer:
        return answer(self._cluster, self._table, question.name, question.kind, complete=self._complete())


class ClusterDns:
    """The running resolver of a node. Make it with `open_dns`."""

    def __init__(self, table: Table, services: Source, slices: Source, file: Path) -> None:
        self._table = table
        self._services = services
        self._slices = slices
        self._file = file
        self._parts: list[DnsServer | Forwarder] = []
        self._keeping: asyncio.Task[None] | None = None

    async def start(self, server: DnsServer, forwarder: Forwarder, sockets: Sequence[socket.socket]) -> None:
        """Answer from what is remembered, then from what the informers tell."""
        remembered = memory.load(self._file)
        for service in remembered.services:
            self._table.service_changed(None, service)
        for piece in remembered.slices:
            self._table.slice_changed(None, piece)
        self._services.add_handler(self._table.service_changed)
        self._slices.add_handler(self._table.slice_changed)
        await server.start(sockets)
        self._parts = [server, forwarder]
        self._keeping = asyncio.create_task(self._keep(remembered))

    async def close(self) -> None:
        """Stop answering."""
        if self._keeping is not None:
            self._keeping.cancel()
            await asyncio.gather(self._keeping, return_exceptions=True)
        for part in self._parts:
            await part.close()

    async def _keep(self, remembered: Remembered) -> None:
        """Once all is known, forget what was remembered and is no more; then keep the file up to date."""
        await self._services.synced()
        await self._slices.synced()
        for service in remembered.services:
            self._table.service_changed(service, self._services.get(key_of(service)))
        for piece in remembered.slices:
            self._table.slice_changed(piece, self._slices.get(key_of(piece)))
        saved = -1
        while True:
            if saved != self._table.version:
                version = self._table.version
                try:
                    memory.save(self._file, memory.remember(self._table.services(), self._table.slices()))
                    saved = version
                except OSError:
                    log.exception("dns: cannot save what is known", extra={"event": "dns.unsaved"})
            await asyncio.sleep(SAVE_SECONDS)


async def open_dns(
    config: AgentConfig,
    services: Source,
    slices: Source,
    clock: Clock,
    rng: random.Random,
    *,
    sockets: Sequence[socket.socket] = (),
) -> ClusterDns:
    """Answer on the cluster's DNS address from now on; names are learned from the informers as they come.

    `rng` must be unguessable (`random.SystemRandom()`) outside of tests. `sockets` are opened here unless given. Raises
    `Terminal` when port 53 of the address is taken.
    """
    table = Table(config.network.cluster_domain)
    forwarder = Forwarder(upstreams_of(config), clock, rng, machine_netns=netns.machine_path(config.cluster))
    resolver = ClusterResolver(
        cluster_of(config.network), table, lambda: services.has_synced and slices.has_synced, forwarder
    )
    dns = ClusterDns(table, services, slices, Path(config.state_dir) / "dns.json")
    await dns.start(DnsServer(resolver), forwarder, sockets or open_sockets([config.network.dns_address]))
    return dns


def cluster_of(network: NetworkConfig) -> Cluster:
    """What answers are made of, from the configuration."""
    domain = network.cluster_domain.strip(".").lower()
    return Cluster(domain, network.dns_address, tuple(network.pod_cidrs), tuple(network.service_cidrs))


def upstreams_of(config: AgentConfig) -> tuple[Upstream, ...]:
    """The resolvers for everything else: configured ones, or those of this machine (never ourselves). A node with a
    holder container is a namespace of its own."""
    files = _text(_RESOLV_CONF), _text(_SYSTEMD_RESOLV_CONF)
    found = choose_upstreams(config.upstream_dns, *files, own_namespace=bool(config.holder))
    return tuple(upstream for upstream in found if upstream.address != config.network.dns_address)


def _text(path: Path) -> str:
    try:
        return path.read_text()
    except FileNotFoundError:
        return ""
