"""A resolver of the outside world for tests: on loopback, with scripted answers and a count of what it was asked."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from dnslib import QTYPE, RCODE, RR, SOA, A, DNSRecord


class Upstream(asyncio.DatagramProtocol):
    """Knows example.org (192.0.2.80), big.org (100 addresses), lost.org (says nothing), ill.org (SERVFAIL)."""

    def __init__(self) -> None:
        self.asked: Counter[str] = Counter()
        self.port = 0
        self._transport: asyncio.DatagramTransport | None = None

    def connection_made(self, transport) -> None:
        self._transport = transport

    def datagram_received(self, data: bytes, addr) -> None:
        reply = self._reply(data, limit=512)
        if reply and self._transport:
            self._transport.sendto(reply, addr)

    async def connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        (length,) = struct.unpack("!H", await reader.readexactly(2))
        reply = self._reply(await reader.readexactly(length), limit=65535)
        writer.write(struct.pack("!H", len(reply)) + reply)
        await writer.drain()
        writer.close()

    def _reply(self, data: bytes, limit: int) -> bytes:
        question = DNSRecord.parse(data)
        name = str(question.q.qname).rstrip(".").lower()
        self.asked[name] += 1
        if name == "lost.org":
            return b""
        reply = question.reply()
        addresses = {"example.org": ["192.0.2.80"], "big.org": [f"192.0.2.{i}" for i in range(100)]}.get(name)
        if name == "ill.org":
            reply.header.rcode = RCODE.SERVFAIL
        elif addresses is None:
            reply.header.rcode = RCODE.NXDOMAIN
            reply.add_auth(RR("org", QTYPE.SOA, rdata=SOA("ns.org", "root.org", (1, 2, 3, 4, 60)), ttl=60))
        elif question.q.qtype == QTYPE.A:
            for address in addresses:
                reply.add_answer(RR(question.q.qname, QTYPE.A, rdata=A(address), ttl=60))
        packet = bytes(reply.pack())
        if len(packet) <= limit:
            return packet
        reply.header.tc = 1
        return bytes(DNSRecord(reply.header, questions=reply.questions).pack())


@asynccontextmanager
async def upstream() -> AsyncIterator[Upstream]:
    """A running resolver on 127.0.0.1 at `port`, over UDP and TCP."""
    made = Upstream()
    listener = socket.create_server(("127.0.0.1", 0))
    made.port = listener.getsockname()[1]
    loop = asyncio.get_running_loop()
    transport, _ = await loop.create_datagram_endpoint(lambda: made, local_addr=("127.0.0.1", made.port))
    server = await asyncio.start_server(made.connected, sock=listener)
    try:
        yield made
    finally:
        transport.close()
        server.close()
