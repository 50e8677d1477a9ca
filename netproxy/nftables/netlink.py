"""Element changes as one batch of netlink messages, encoded by pyroute2: far faster than starting `nft`.

pyroute2's own nftables calls are one transaction each and know no maps; its message classes do.
"""

from __future__ import annotations

import errno
import os
import struct
from collections.abc import Iterable, Iterator
from ipaddress import ip_address, ip_network
from itertools import groupby

from pyroute2.netlink import NLM_F_ACK, NLM_F_CREATE, NLM_F_REQUEST
from pyroute2.netlink.nfnetlink import NFNL_SUBSYS_NFTABLES, nfgen_msg
from pyroute2.netlink.nfnetlink.nftsocket import (
    NFPROTO_IPV4,
    NFT_MSG_DELCHAIN,
    NFT_MSG_DELRULE,
    NFT_MSG_DELSETELEM,
    NFT_MSG_NEWSETELEM,
    nft_chain_msg,
    nft_rule_msg,
    nft_set_elem_list_msg,
)

from mesh.objects.types import Json
from netproxy.backend import KernelRefused
from netproxy.netfilter import NetfilterSocket
from netproxy.nftables.layout import AFFINITY, SETS, Element
from netproxy.nftables.skeleton import TABLE
from netproxy.nftables.state import Delta

_BATCH_BEGIN, _BATCH_END = 0x10, 0x11
_ELEMENTS_PER_MESSAGE = 400
"""A list of elements is one attribute, and its length has 16 bits."""
_VERDICTS = {"drop": 0, "jump": -3, "goto": -4}


def commit(netfilter: NetfilterSocket, delta: Delta) -> None:
    """Do what `delta` says in one transaction (it must make no chains); `KernelRefused` when the kernel does not take
    it, and then nothing of it is done."""
    messages = list(_messages(delta))
    first = next(netfilter.sequence)
    data = bytearray(_encode(nfgen_msg(), _BATCH_BEGIN, 0, first, resource=NFNL_SUBSYS_NFTABLES))
    pending = set()
    for message, kind, flags in messages:
        number = next(netfilter.sequence)
        pending.add(number)
        data += _encode(message, kind | NFNL_SUBSYS_NFTABLES << 8, flags | NLM_F_ACK, number)
    data += _encode(nfgen_msg(), _BATCH_END, 0, next(netfilter.sequence), resource=NFNL_SUBSYS_NFTABLES)
    netfilter.send(bytes(data))
    _acknowledged(netfilter, pending, first)


def _acknowledged(netfilter: NetfilterSocket, pending: set[int], first: int) -> None:
    """Wait for the answer to every message; the first refusal counts, later ones follow from it."""
    refusal = 0
    while pending:
        for kind, number, payload in netfilter.receive():
            if kind != 2:  # NLMSG_ERROR, which is also the acknowledgement
                continue
            (code,) = struct.unpack_from("=i", payload)
            refusal = refusal or -code
            if number == first and code:  # the batch as a whole was refused: no more answers follow
                pending.clear()
            pending.discard(number)
    if refusal:
        raise KernelRefused(f"nftables: {errno.errorcode.get(refusal, refusal)}: {os.strerror(refusal)}")


def _messages(delta: Delta) -> Iterator[tuple[Json, int, int]]:
    """(message, type, flags) in the order of the transaction."""
    for elements, kind, flags in ((delta.remove, NFT_MSG_DELSETELEM, 0), (delta.add, NFT_MSG_NEWSETELEM, NLM_F_CREATE)):
        for name, group in groupby(sorted(elements, key=lambda e: e.set), key=lambda e: e.set):
            for part in _parts(group):
                message = nft_set_elem_list_msg()
                message["attrs"] = [
                    ("NFTA_SET_ELEM_LIST_TABLE", TABLE),
                    ("NFTA_SET_ELEM_LIST_SET", name),
                    (
                        "NFTA_SET_ELEM_LIST_ELEMENTS",
                        [{"attrs": _element(e, with_value=kind == NFT_MSG_NEWSETELEM)} for e in part],
                    ),
                ]
                yield message, kind, flags
    for chain in delta.old_chains:
        rules = nft_rule_msg()
        rules["attrs"] = [("NFTA_RULE_TABLE", TABLE), ("NFTA_RULE_CHAIN", chain)]
        yield rules, NFT_MSG_DELRULE, 0
        message = nft_chain_msg()
        message["attrs"] = [("NFTA_CHAIN_TABLE", TABLE), ("NFTA_CHAIN_NAME", chain)]
        yield message, NFT_MSG_DELCHAIN, 0


def _parts(elements: Iterable[Element]) -> Iterator[list[Element]]:
    items = list(elements)
    for start in range(0, len(items), _ELEMENTS_PER_MESSAGE):
        yield items[start : start + _ELEMENTS_PER_MESSAGE]


def _encode(message: Json, kind: int, flags: int, sequence: int, *, resource: int = 0) -> bytes:
    message["nfgen_family"] = 0 if resource else NFPROTO_IPV4
    message["res_id"] = resource
    message["header"]["type"] = kind
    message["header"]["flags"] = flags | NLM_F_REQUEST
    message["header"]["sequence_number"] = sequence
    message.encode()
    return bytes(message.data)


def _element(element: Element, *, with_value: bool) -> list[tuple[str, Json]]:
    """The attributes of one element."""
    spec = AFFINITY if element.set == "affinity" else SETS[element.set]
    parts = element.key.split(" . ")
    if spec.interval:
        network = ip_network(parts[-1])
        low = [*parts[:-1], str(network.network_address)]
        high = [*parts[:-1], str(network.broadcast_address)]
        return [
            ("NFTA_SET_ELEM_KEY", _data(spec.key, low)),
            ("NFTA_SET_ELEM_KEY_END", _data(spec.key, high)),
        ]
    attributes = [("NFTA_SET_ELEM_KEY", _data(spec.key, parts))]
    if with_value and spec.value == ("verdict",):
        attributes.append(("NFTA_SET_ELEM_DATA", _verdict(element.value)))
    elif with_value and spec.value:
        attributes.append(("NFTA_SET_ELEM_DATA", _data(spec.value, element.value.split(" . "))))
    return attributes


def _verdict(text: str) -> Json:
    word, _, chain = text.partition(" ")
    attributes: list[tuple[str, Json]] = [("NFTA_VERDICT_CODE", _VERDICTS[word])]
    if chain:
        attributes.append(("NFTA_VERDICT_CHAIN", chain))
    return {"attrs": [("NFTA_DATA_VERDICT", {"attrs": attributes})]}


def _data(types: tuple[str, ...], parts: list[str]) -> Json:
    """A key or value: each part of a concatenation fills whole 32-bit registers; numbers drawn are in host order."""
    fields = []
    for kind, part in zip(types, parts, strict=True):
        if kind == "ipv4_addr":
            field = ip_address(part).packed
        elif kind == "inet_proto":
            field = struct.pack("B", int(part))
        elif kind == "inet_service":
            field = struct.pack(">H", int(part))
        else:
            field = struct.pack("=I", int(part))
        fields.append(field if len(types) == 1 else field.ljust(4, b"\0"))
    return {"attrs": [("NFTA_DATA_VALUE", b"".join(fields))]}
