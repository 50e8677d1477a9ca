"""The executor of the pod network's plans: items into the kernel and out of it, over rtnetlink(7).

Messages are pyroute2's; the socket is our own, because opening an `IPRoute` costs more than a millisecond and a pod's
link needs one in each of two namespaces. All calls block for microseconds and act on the namespace in which the
calling thread was when it opened the socket: they belong on a `worker.Worker`, not in an event loop's thread.
"""

from __future__ import annotations

import errno
import socket
import struct
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from pyroute2.netlink.rtnl.ifaddrmsg import ifaddrmsg
from pyroute2.netlink.rtnl.ifinfmsg import ifinfmsg
from pyroute2.netlink.rtnl.ndmsg import ndmsg
from pyroute2.netlink.rtnl.rtmsg import rtmsg

from agents.network import messages
from agents.network.items import (
    Action,
    Address,
    Alias,
    Bridge,
    Ensure,
    Forwarding,
    Item,
    Link,
    Neighbour,
    Route,
    Sysctl,
    Up,
    Veth,
    Vxlan,
)
from agents.network.messages import KernelRefusal, Message
from mesh.objects.types import Json, Object

_REQUEST, _ACK, _DUMP = 0x1, 0x4, 0x300
_ERROR, _DONE, _DUMP_INTERRUPTED = 2, 3, 0x10
_GONE = frozenset({errno.ENODEV, errno.ENOENT, errno.ESRCH, errno.EADDRNOTAVAIL})
_HEADER = struct.Struct("IHHII")
_BUFFER_BYTES = 1 << 20
_FAMILIES = (socket.AF_INET, socket.AF_INET6)
_SOL_NETLINK, _GET_STRICT_CHECK = 270, 12


class Netlink:
    """An rtnetlink socket of the namespace in which it was opened. A context manager."""

    def __init__(self) -> None:
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, 0)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _BUFFER_BYTES)
        self._socket.setsockopt(_SOL_NETLINK, _GET_STRICT_CHECK, 1)  # dumps filter by what the request names
        self._socket.bind((0, 0))
        self._sequence = 0

    def __enter__(self) -> Netlink:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the socket; what was made stays."""
        self._socket.close()

    def apply(self, actions: Iterable[Action]) -> None:
        """Carry out the actions in order; raises `KernelRefusal` at the first that fails."""
        for action in actions:
            if isinstance(action, Ensure):
                self._ensure(action.item)
            else:
                self._remove(action.item)

    def remove_links(self, devices: Iterable[str]) -> None:
        """Remove links of any kind by name; gone already is fine. Removing one makes the kernel wait for tens of
        milliseconds, and removing a group of them no longer than that."""
        for device in devices:
            with _unless_gone():
                self._request(messages.mark_leaving(device), f"remove link {device}")
        with _unless_gone():
            self._request(messages.remove_leaving(), "remove links")

    def links(self, device: str = "") -> list[Object]:
        """All links, or the one device if it is there: {"index", "name", "alias", "kind", "mtu", "mac", "up", "master",
        "peer", "info"}; `master` and `peer` are indexes or 0."""
        if not device:
            found = self._dump(ifinfmsg, messages.GETLINK, {"family": 0})
        else:
            found = self._get(ifinfmsg, messages.GETLINK, {"index": messages.index_of(device)})
        return [messages.link_facts(m) for m in found]

    def link_items(self, device: str = "") -> list[Link]:
        """Links of the kinds that we make, and are up, as items."""
        items = (messages.link_item(link) for link in self.links(device))
        return [item for item in items if item is not None]

    def aliases(self, device: str = "") -> list[Alias]:
        """The aliases of the links that have one."""
        return [Alias(link["name"], link["alias"]) for link in self.links(device) if link["alias"]]

    def addresses(self, device: str = "") -> list[Address]:
        """Addresses of one device, or of all."""
        index = messages.index_of(device)
        if device and not index:
            return []
        found = self._dump(ifaddrmsg, messages.GETADDR, {"family": 0, "index": index})
        return [
            Address(f"{m.get_attr('IFA_LOCAL') or m.get_attr('IFA_ADDRESS')}/{m['prefixlen']}", name)
            for m in found
            if (name := messages.name_of(m["index"]))
        ]

    def routes(self, *, device: str = "", protocol: int = 0) -> list[Route]:
        """Unicast routes of the main table with one next hop: all, or those of a device or a protocol."""
        index = messages.index_of(device)
        if device and not index:
            return []
        wanted = [("RTA_OIF", index)] if device else []
        fields = {"family": 0, "proto": protocol, "table": messages.MAIN_TABLE, "type": messages.UNICAST}
        found = [m for f in _FAMILIES for m in self._dump(rtmsg, messages.GETROUTE, {**fields, "family": f}, wanted)]
        return [
            messages.route_item(m, name)
            for m in found
            if m.get_attr("RTA_OIF") and (name := messages.name_of(m.get_attr("RTA_OIF")))
        ]

    def destinations(self) -> list[str]:
        """Where IPv4 routes of any table lead: whatever their type, and however many ways they name."""
        found = self._dump(rtmsg, messages.GETROUTE, {"family": socket.AF_INET, "table": 0})
        return [f"{m.get_attr('RTA_DST') or '0.0.0.0'}/{m['dst_len']}" for m in found]

    def neighbours(self, device: str) -> list[Neighbour]:
        """Permanent neighbour entries of a device."""
        if not (index := messages.index_of(device)):
            return []
        wanted = [("NDA_IFINDEX", index)]
        found = [m for f in _FAMILIES for m in self._dump(ndmsg, messages.GETNEIGH, {"family": f}, wanted)]
        permanent = [m for m in found if m["state"] & messages.NUD_PERMANENT]
        return [Neighbour(m.get_attr("NDA_DST"), device, m.get_attr("NDA_LLADDR")) for m in permanent]

    def forwardings(self, device: str) -> list[Forwarding]:
        """Forwarding entries of a VXLAN device that name a node."""
        if not (index := messages.index_of(device)):
            return []
        fields = {"family": messages.AF_BRIDGE, "ifindex": index}
        found = [m for m in self._dump(ndmsg, messages.GETNEIGH, fields) if m.get_attr("NDA_DST")]
        return [Forwarding(m.get_attr("NDA_LLADDR"), device, m.get_attr("NDA_DST")) for m in found]

    def _ensure(self, item: Item) -> None:
        match item:
            case Sysctl():
                _write_sysctl(item)
            case Bridge() | Veth() | Vxlan():
                self._ensure_link(item)
            case _:
                self._request(messages.ensure(item), f"ensure {item}")

    def _remove(self, item: Item) -> None:
        if isinstance(item, Sysctl | Up | Alias):
            return  # nothing remains of these once the link or namespace they belong to is gone
        with _unless_gone():
            self._request(messages.remove(item), f"remove {item}")

    def _ensure_link(self, link: Link) -> None:
        """Create it unless it is there, then give it what can be changed afterwards, and take it up (a veth's end
        refuses to be created up)."""
        what = f"ensure {link}"
        if not messages.index_of(link.name):
            with ExitStack() as opened:
                self._request(messages.create_link(link, opened), what)
        attributes: list[tuple[str, Json]] = [("IFLA_IFALIAS", link.alias), ("IFLA_MTU", link.mtu)]
        if isinstance(link, Veth) and link.master:
            attributes.append(("IFLA_MASTER", messages.index_of(link.master)))
        self._request(messages.set_link(link.name, attributes), what)

    def _request(self, message: Message, what: str) -> None:
        self._send(message, _ACK)
        for code, _, answer in self._messages():
            if code == _ERROR:
                number = -struct.unpack_from("i", answer, _HEADER.size)[0]
                if number:
                    raise KernelRefusal(what, number)
                return

    def _get(self, kind: Json, operation: int, fields: Object) -> list[Json]:
        """The one object asked for, or none."""
        self._send(Message(kind, operation, 0, fields, []), 0)
        for code, _, answer in self._messages():
            if code == _ERROR:
                break
            parsed = kind(answer)
            parsed.decode()
            return [parsed]
        return []

    def _dump(self, kind: Json, operation: int, fields: Object, wanted: Sequence[tuple[str, Json]] = ()) -> list[Json]:
        """All objects that match; asks again when they changed during the dump (NLM_F_DUMP_INTR)."""
        while True:
            self._send(Message(kind, operation, 0, fields, list(wanted)), _DUMP)
            found, interrupted = [], False
            for message, flags in self._receive_dump():
                parsed = kind(message)
                parsed.decode()
                found.append(parsed)
                interrupted = interrupted or bool(flags & _DUMP_INTERRUPTED)
            if not interrupted:
                return found

    def _send(self, request: Message, flags: int) -> None:
        self._sequence += 1
        message = request.kind()
        header = {"type": request.operation, "flags": _REQUEST | flags | request.flags}
        message["header"].update({**header, "sequence_number": self._sequence})
        message.update(request.fields)
        message["attrs"] = request.attributes
        message.encode()
        self._socket.send(bytes(message.data))

    def _messages(self) -> Iterator[tuple[int, int, bytes]]:
        """(type, flags, whole message) of what the kernel answers to the last request."""
        while True:
            data = self._socket.recv(_BUFFER_BYTES)
            offset = 0
            while offset + _HEADER.size <= len(data):
                length, code, flags, sequence, _ = _HEADER.unpack_from(data, offset)
                if sequence == self._sequence:
                    yield code, flags, data[offset : offset + length]
                offset += (length + 3) & ~3

    def _receive_dump(self) -> Iterator[tuple[bytes, int]]:
        for code, flags, message in self._messages():
            if code == _DONE:
                return
            if code == _ERROR:
                raise KernelRefusal("read the kernel's tables", -struct.unpack_from("i", message, _HEADER.size)[0])
            yield message, flags


@contextmanager
def _unless_gone() -> Iterator[None]:
    """What is to be removed may be gone already."""
    try:
        yield
    except KernelRefusal as refusal:
        if refusal.errno not in _GONE:
            raise


def read_sysctls(wanted: Iterable[Item]) -> list[Sysctl]:
    """The values that the sysctls among `wanted` have now; those that do not exist are left out."""
    names = [item.name for item in wanted if isinstance(item, Sysctl)]
    paths = [(name, Path("/proc/sys") / name) for name in names]
    return [Sysctl(name, path.read_text().strip()) for name, path in paths if path.exists()]


def _write_sysctl(item: Sysctl) -> None:
    try:
        (Path("/proc/sys") / item.name).write_text(item.value)
    except OSError as error:
        raise KernelRefusal(f"set {item}", error.errno or errno.EIO) from error
