"""Which resolvers answer for names outside the cluster. Pure.

A node that is a namespace cannot reach a resolver on the machine's loopback (systemd-resolved's 127.0.0.53, a local
dnsmasq): there systemd-resolved's own list of resolvers is used, and failing that the questions are asked from the
machine's namespace, in which the agent may open sockets although it lives in the node's.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Upstream:
    """A resolver. `from_machine` says that it is to be asked from the machine's own network namespace."""

    address: str
    port: int = 53
    from_machine: bool = False


def nameservers(resolv_conf: str) -> list[str]:
    """The addresses of the `nameserver` lines (resolv.conf(5)), without zones, in order."""
    words = (line.split() for line in resolv_conf.splitlines())
    named = [w[1].partition("%")[0] for w in words if len(w) > 1 and w[0] == "nameserver"]
    return [address for address in named if _is_address(address)]


def choose_upstreams(
    configured: Iterable[str], resolv_conf: str, systemd_resolv_conf: str, *, own_namespace: bool
) -> tuple[Upstream, ...]:
    """The resolvers to ask, in order of preference.

    `configured` ("192.0.2.1" or "192.0.2.1:5353") wins over the machine's files. `own_namespace` says that the node is a
    namespace of its own beside the machine's.
    """
    given = [_parse(text) for text in configured]
    if given:
        return tuple(Upstream(a, p, own_namespace and _is_loopback(a)) for a, p in given)
    addresses = nameservers(resolv_conf)
    if all(_is_loopback(a) for a in addresses):
        addresses = [a for a in nameservers(systemd_resolv_conf) if not _is_loopback(a)] or addresses
    return tuple(Upstream(a, from_machine=own_namespace and _is_loopback(a)) for a in addresses)


def _parse(text: str) -> tuple[str, int]:
    address, colon, port = text.rpartition(":")
    if colon and port.isdigit() and _is_address(address.strip("[]")):
        return address.strip("[]"), int(port)
    return text, 53


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def _is_loopback(address: str) -> bool:
    return ipaddress.ip_address(address).is_loopback
