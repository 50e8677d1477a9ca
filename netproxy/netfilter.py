"""A netlink socket to netfilter, and the one question both back ends ask it.

The kernel answers a netlink request while it is being sent, so the socket is used without an event loop.
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator
from itertools import count

from netproxy.backend import KernelRefused

_NETFILTER = 12
_NFTABLES, _NEWGEN, _GETGEN = 10, 15, 16
_REQUEST = 1
_REPLY_SIZE = 1 << 20


class NetfilterSocket:
    """To the network namespace of the calling thread."""

    def __init__(self) -> None:
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, _NETFILTER)
        self._socket.bind((0, 0))
        self._socket.settimeout(5.0)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4 << 20)
        self.sequence = count(1)
        """Numbers for requests."""

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()

    def generation(self) -> int:
        """The number of nftables' last transaction in this namespace, whoever made it (iptables-nft's count, too)."""
        number = next(self.sequence)
        self.send(struct.pack("=IHHIIBBH", 20, _NFTABLES << 8 | _GETGEN, _REQUEST, number, 0, 0, 0, 0))
        kind, payload = self._answer_to(number)
        if kind != _NFTABLES << 8 | _NEWGEN:
            raise KernelRefused("nftables: the kernel did not tell its ruleset generation")
        # After the family header (4 bytes) and the header of the first attribute, NFTA_GEN_ID (4 bytes).
        return int(struct.unpack_from(">I", payload, 8)[0])

    def _answer_to(self, number: int) -> tuple[int, bytes]:
        """(type, payload) of the answer to request `number`. What answers an earlier request, which was given up, is passed
        over: there is at most one datagram of it for each of them."""
        for _ in range(number):
            for kind, answered, payload in self.receive():
                if answered == number:
                    return kind, payload
        raise KernelRefused("nftables: the kernel answered nothing but what had been asked before")

    def send(self, data: bytes) -> None:
        """Send whole netlink messages; `KernelRefused` when the kernel does not take them."""
        try:
            self._socket.send(data)
        except OSError as error:
            raise KernelRefused(f"nftables: cannot send to the kernel: {error.strerror}") from error

    def receive(self) -> Iterator[tuple[int, int, bytes]]:
        """(type, sequence, payload) of each message of the next datagram."""
        try:
            data = self._socket.recv(_REPLY_SIZE)
        except OSError as error:
            raise KernelRefused(f"nftables: no answer from the kernel: {error}") from error
        offset = 0
        while offset + 16 <= len(data):
            length, kind, _flags, sequence = struct.unpack_from("=IHHI", data, offset)
            yield kind, sequence, data[offset + 16 : offset + length]
            offset += (length + 3) & ~3
