"""The DNS records of one Service: a pure function of the Service and its EndpointSlices.

Specification: Kubernetes DNS-Based Service Discovery 1.1.0; where it is silent, CoreDNS' kubernetes plugin.
Names are lower case, without the final dot.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TypeAlias

from mesh.objects.types import Object


@dataclass(frozen=True, slots=True, order=True)
class Srv:
    """Data of an SRV record (RFC 2782)."""

    priority: int
    weight: int
    port: int
    target: str


@dataclass(frozen=True, slots=True, order=True)
class Record:
    """One record of a name: `type` is A, AAAA, CNAME, PTR, SRV, TXT or NS; `data` an address, a name, a text or a Srv."""

    type: str
    data: str | Srv


Records: TypeAlias = Mapping[str, frozenset[Record]]
"""Records by name."""


def records_of(service: Object, slices: Iterable[Object], domain: str) -> Records:
    """All names that a Service gives rise to, its reverse names among them."""
    meta, spec = service["metadata"], service.get("spec") or {}
    base = f"{meta['name']}.{meta['namespace']}.svc.{domain}"
    if spec.get("type") == "ExternalName":
        found: Iterator[tuple[str, Record]] = _external(base, spec)
    elif spec.get("clusterIP") == "None":
        found = _headless(base, slices, everybody=bool(spec.get("publishNotReadyAddresses")))
    else:
        found = _cluster_ip(base, spec)
    return _grouped(found)


def _grouped(found: Iterable[tuple[str, Record]]) -> Records:
    records: dict[str, set[Record]] = {}
    for name, record in found:
        records.setdefault(name.lower(), set()).add(record)
    return {name: frozenset(values) for name, values in records.items()}


def _external(base: str, spec: Object) -> Iterator[tuple[str, Record]]:
    target = str(spec.get("externalName") or "").rstrip(".").lower()
    if target:
        yield base, Record("CNAME", target)


def _cluster_ip(base: str, spec: Object) -> Iterator[tuple[str, Record]]:
    addresses = spec.get("clusterIPs") or ([spec["clusterIP"]] if spec.get("clusterIP") else [])
    for address in addresses:
        yield base, address_record(address)
        yield reverse_name(address), Record("PTR", base)
    for port in spec.get("ports") or () if addresses else ():
        yield from _srv(base, port, base, weight=100)


def _headless(base: str, slices: Iterable[Object], *, everybody: bool) -> Iterator[tuple[str, Record]]:
    ready = [
        (endpoint, piece)
        for piece in slices
        if piece.get("addressType") in {"IPv4", "IPv6"}
        for endpoint in piece.get("endpoints") or ()
        if everybody or (endpoint.get("conditions") or {}).get("ready") is not False
    ]
    weight = max(1, 100 // len(ready)) if ready else 100
    for endpoint, piece in ready:
        for address in endpoint["addresses"]:
            host = f"{endpoint.get('hostname') or dashed(address)}.{base}"
            yield base, address_record(address)
            yield host, address_record(address)
            yield reverse_name(address), Record("PTR", host)
            for port in piece.get("ports") or ():
                yield from _srv(base, port, host, weight)


def _srv(base: str, port: Object, target: str, weight: int) -> Iterator[tuple[str, Record]]:
    """Named ports have a name of their own; a question for SRV at the Service itself gets all ports, as CoreDNS answers."""
    number = port.get("port")
    if number is None:
        return
    record = Record("SRV", Srv(0, weight, int(number), target.lower()))
    yield base, record
    if port.get("name"):
        yield f"_{port['name']}._{str(port.get('protocol') or 'TCP').lower()}.{base}", record


def address_record(address: str) -> Record:
    """A or AAAA."""
    return Record("A" if ipaddress.ip_address(address).version == 4 else "AAAA", address)


def reverse_name(address: str) -> str:
    """The name under which PTR records of an address stand (RFC 1035 3.5, RFC 3596 2.5)."""
    return ipaddress.ip_address(address).reverse_pointer


def dashed(address: str) -> str:
    """An address as one label: 10-64-1-7, fd00--7."""
    return address.replace(".", "-").replace(":", "-")


def undashed(label: str) -> str:
    """The address that a label stands for, or ""."""
    for separator in ".:":
        try:
            return str(ipaddress.ip_address(label.replace("-", separator)))
        except ValueError:
            continue
    return ""


def address_of(name: str) -> str:
    """The address that a complete reverse name stands for, or ""."""
    labels = name.split(".")
    text = ""
    if name.endswith(".in-addr.arpa") and len(labels) == 6:
        text = ".".join(reversed(labels[:4]))
    elif name.endswith(".ip6.arpa") and len(labels) == 34:
        digits = "".join(reversed(labels[:32]))
        text = ":".join(digits[i : i + 4] for i in range(0, 32, 4))
    try:
        return str(ipaddress.ip_address(text))
    except ValueError:
        return ""
