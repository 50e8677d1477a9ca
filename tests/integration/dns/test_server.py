"""The resolver by real queries over UDP and TCP, and from inside a pod."""

import asyncio
import os
import random
import socket
import struct
import tempfile
from contextlib import asynccontextmanager, nullcontext
from functools import partial

import pytest
from dnslib import EDNS0, QTYPE, RCODE, DNSRecord

from agents.dns.cluster import open_dns
from agents.dns.server import open_sockets
from agents.network.machine import node_netns
from agents.network.node import open_network
from mesh import netns
from mesh.clock import SystemClock
from mesh.config import AgentConfig, BusConfig, NetworkConfig
from mesh.errors import Terminal
from mesh.objects.meta import key_of
from tests.support.dnsobjects import HTTP, endpoint, piece, service
from tests.support.fakenodes import FakeNodes
from tests.support.netlab import namespace, raised, unique, until
from tests.support.upstreamdns import upstream

NETWORK = NetworkConfig(pod_cidrs=["10.250.0.0/16"], service_cidrs=["10.251.0.0/16"], dns_address="10.251.0.10")
SVC = "default.svc.cluster.local"


class Informed:
    """Objects as an informer hands them over."""

    def __init__(self, *objects, synced=True):
        self._objects, self._handlers, self._synced = list(objects), [], asyncio.Event()
        if synced:
            self._synced.set()

    @property
    def has_synced(self):
        return self._synced.is_set()

    async def synced(self):
        await self._synced.wait()

    def get(self, key):
        return next((o for o in self._objects if key_of(o) == key), None)

    def finish(self):
        self._synced.set()

    def add_handler(self, handler):
        self._handlers.append(handler)
        for one in self._objects:
            handler(None, one)

    def add(self, one):
        self._objects.append(one)
        for handler in self._handlers:
            handler(None, one)


def config(state, *, cluster="t", addresses=("127.0.0.1",), upstreams=(), holder="") -> AgentConfig:
    return AgentConfig(
        cluster=cluster,
        holder=holder,
        node="n1",
        addresses=list(addresses),
        bus=BusConfig(servers=[], seed_file=""),
        state_dir=str(state),
        network=NETWORK,
        upstream_dns=list(upstreams),
    )


SERVICES = (
    service("web", clusterIP="10.251.0.7", ports=[HTTP]),
    service("db", clusterIP="None", ports=[HTTP]),
    service("out", type="ExternalName", externalName="example.org"),
    service("gone", type="ExternalName", externalName="nobody.org"),
)
SLICES = (piece("db", *(endpoint(f"10.250.1.{i}", hostname=f"db-{i}") for i in range(2, 62))),)


@asynccontextmanager
async def resolver(services, *upstreams, state=None, slices=None):
    """The resolver on a port of loopback; yields a function that asks it."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    sockets = open_sockets(["127.0.0.1"], port)
    slices = slices or Informed(*SLICES)
    made = tempfile.TemporaryDirectory() if state is None else nullcontext(state)
    with made as directory:
        dns = await open_dns(
            config(directory, upstreams=upstreams), services, slices, SystemClock(), random.Random(1), sockets=sockets
        )
        try:
            yield partial(_ask, port)
        finally:
            await dns.close()


async def _ask(port, name, kind="A", *, tcp=False, edns=0):
    query = DNSRecord.question(name, kind)
    if edns:
        query.add_ar(EDNS0(udp_len=edns))
    reply = DNSRecord.parse(await (_tcp if tcp else _udp)(bytes(query.pack()), port))
    assert reply.header.id == query.header.id
    return reply


async def _udp(packet, port):
    loop = asyncio.get_running_loop()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.setblocking(False)
        sock.connect(("127.0.0.1", port))
        await loop.sock_sendall(sock, packet)
        return await loop.sock_recv(sock, 65535)


async def _tcp(packet, port):
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(struct.pack("!H", len(packet)) + packet)
    (length,) = struct.unpack("!H", await reader.readexactly(2))
    answer = await reader.readexactly(length)
    writer.close()
    await writer.wait_closed()
    return answer


def data(reply):
    return [str(record.rdata) for record in reply.rr]


@pytest.mark.parametrize("tcp", [False, True])
async def test_the_clusters_names(tcp):
    async with resolver(Informed(*SERVICES)) as ask:
        assert data(await ask(f"WEB.{SVC}", tcp=tcp)) == ["10.251.0.7"]
        assert data(await ask(f"_http._tcp.web.{SVC}", "SRV", tcp=tcp)) == [f"0 100 80 web.{SVC}."]
        missing = await ask(f"nobody.{SVC}", tcp=tcp)
        assert (missing.header.rcode, missing.auth[0].rtype) == (RCODE.NXDOMAIN, QTYPE.SOA)
        empty = await ask(f"web.{SVC}", "AAAA", tcp=tcp)
        assert (empty.header.rcode, empty.rr, empty.auth[0].rtype) == (RCODE.NOERROR, [], QTYPE.SOA)


async def test_what_does_not_fit_a_datagram_comes_over_tcp():
    async with resolver(Informed(*SERVICES)) as ask:
        assert (await ask(f"db.{SVC}")).header.tc == 1
        assert len((await ask(f"db.{SVC}", edns=4096)).rr) == 60  # 60 x 16 bytes fit into 1232
        assert (await ask(f"db.{SVC}", "SRV", edns=4096)).header.tc == 1
        complete = await ask(f"db.{SVC}", "SRV", tcp=True)
        assert (complete.header.tc, len(complete.rr), len(complete.ar)) == (0, 60, 60)


async def test_names_are_learned_as_they_come_and_not_denied_before_all_are_known():
    services = Informed(synced=False)
    async with resolver(services) as ask:
        assert (await ask(f"web.{SVC}")).header.rcode == RCODE.SERVFAIL
        services.add(SERVICES[0])
        assert data(await ask(f"web.{SVC}")) == ["10.251.0.7"]
        services.finish()
        assert (await ask(f"nobody.{SVC}")).header.rcode == RCODE.NXDOMAIN


async def test_everything_else_is_forwarded_once_and_kept():
    async with upstream() as world, resolver(Informed(*SERVICES), f"127.0.0.1:{world.port}") as ask:
        replies = await asyncio.gather(*(ask("example.org") for _ in range(20)))
        assert all(data(reply) == ["192.0.2.80"] for reply in replies)
        assert data(await ask("EXAMPLE.org")) == ["192.0.2.80"]
        assert world.asked["example.org"] == 1
        assert (await ask("nobody.org")).header.rcode == RCODE.NXDOMAIN
        assert (await ask("nobody.org")).header.rcode == RCODE.NXDOMAIN
        assert world.asked["nobody.org"] == 1
        assert (await ask("big.org")).header.tc == 1
        assert len((await ask("big.org", tcp=True)).rr) == 100
        assert not any(name.endswith("cluster.local") for name in world.asked)


async def test_an_external_name_brings_what_it_leads_to():
    async with upstream() as world, resolver(Informed(*SERVICES), f"127.0.0.1:{world.port}") as ask:
        assert data(await ask(f"out.{SVC}")) == ["example.org.", "192.0.2.80"]
        assert data(await ask(f"out.{SVC}", "CNAME")) == ["example.org."]
        gone = await ask(f"gone.{SVC}", tcp=True)
        assert (gone.header.rcode, data(gone)) == (RCODE.NXDOMAIN, ["nobody.org."])


async def test_a_dead_resolver_is_passed_over_and_remembered():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        dead = taken.getsockname()[1]  # TCP only: datagrams to it are refused
        async with upstream() as world, resolver(Informed(), f"127.0.0.1:{dead}", f"127.0.0.1:{world.port}") as ask:
            assert data(await ask("example.org")) == ["192.0.2.80"]
            assert (await ask("ill.org")).header.rcode == RCODE.SERVFAIL


async def test_no_resolver_answers():
    async with upstream() as world, resolver(Informed(), f"127.0.0.1:{world.port}") as ask:
        assert (await ask("lost.org")).header.rcode == RCODE.SERVFAIL
        assert world.asked["lost.org"] == 2


async def test_an_agent_without_a_broker_answers_what_it_knew_and_denies_nothing(tmp_path):
    both, gone = (SERVICES[0], SERVICES[1]), piece("db", endpoint("10.250.1.99"), name="gone")
    async with resolver(Informed(*both), state=tmp_path, slices=Informed(gone)):
        await until((tmp_path / "dns.json").exists, "the names are saved")
    services, slices = Informed(synced=False), Informed(synced=False)
    async with resolver(services, state=tmp_path, slices=slices) as ask:
        assert data(await ask(f"web.{SVC}")) == ["10.251.0.7"]
        assert data(await ask(f"db.{SVC}")) == ["10.250.1.99"]
        assert (await ask(f"nobody.{SVC}")).header.rcode == RCODE.SERVFAIL
        services.add(SERVICES[1])
        services.finish()
        slices.finish()
        assert (await ask(f"web.{SVC}")).header.rcode == RCODE.NXDOMAIN  # deleted while nobody looked
        assert (await ask(f"db.{SVC}")).header.rcode == RCODE.NXDOMAIN


async def test_garbage_is_survived(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    dns = await open_dns(
        config(tmp_path), Informed(*SERVICES), Informed(), SystemClock(), random.Random(1),
        sockets=open_sockets(["127.0.0.1"], port),
    )  # fmt: skip
    rng = random.Random(7)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        for _ in range(100):  # few enough for the socket's buffer
            sock.sendto(rng.randbytes(rng.randrange(80)), ("127.0.0.1", port))
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"\0\x03abc")
    assert await reader.read() == b""
    writer.close()
    question = DNSRecord.question(f"web.{SVC}")
    assert data(DNSRecord.parse(await _udp(bytes(question.pack()), port))) == ["10.251.0.7"]
    await dns.close()


def test_a_taken_port_is_told():
    first = open_sockets(["127.0.0.1"], port := _free_port())
    with pytest.raises(Terminal, match=f"cluster DNS cannot listen on 127.0.0.1 port {port}: Address already in use"):
        open_sockets(["127.0.0.1"], port)
    for sock in first:
        sock.close()


def _free_port():
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return probe.getsockname()[1]


@pytest.mark.root
@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
async def test_a_pod_asks_its_own_node_about_services_and_the_world(tmp_path):
    """The outside resolver is on the machine's loopback, where no node's namespace leads."""
    with raised(1) as topology, namespace() as pod:
        async with upstream() as world:
            path = node_netns(topology.cluster, "n1")
            address, outside = topology.nodes[0].address, f"127.0.0.1:{world.port}"
            made = config(tmp_path, cluster=topology.cluster, addresses=[address], upstreams=[outside], holder="h")
            network = await open_network(made, FakeNodes(), netns=str(path))
            await network.pods.configure(["10.250.1.0/24"])
            await network.pods.attach(unique("s"), str(pod))
            sockets = await asyncio.to_thread(_sockets_in, path)
            dns = await open_dns(
                made, Informed(*SERVICES), Informed(*SLICES), SystemClock(), random.Random(1), sockets=sockets
            )  # fmt: skip
            try:
                for name, address in ((f"web.{SVC}", "10.251.0.7"), ("example.org", "192.0.2.80")):
                    assert address in await _nslookup(name, pod)
                assert "NXDOMAIN" in await _nslookup(f"nobody.{SVC}", pod)
            finally:
                await dns.close()
                await network.close()


def _sockets_in(path):
    with netns.within(path):
        return open_sockets([NETWORK.dns_address])


async def _nslookup(name, pod):
    process = await asyncio.create_subprocess_exec(
        "nsenter", f"--net={pod}", "busybox", "nslookup", "-type=a", name, NETWORK.dns_address,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    return (await process.communicate())[0].decode()
