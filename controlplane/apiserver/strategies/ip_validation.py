"""Validation of IP addresses and networks inside objects."""

from __future__ import annotations

import ipaddress

from controlplane.apiserver.strategies import causes
from mesh.errors import Cause

_IP = "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)"
_CIDR = "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)"
_SPECIAL = (
    ("is_unspecified", "may not be unspecified (0.0.0.0 or ::)"),
    ("is_loopback", "may not be in the loopback range (127.0.0.0/8, ::1/128)"),
    ("is_link_local", "may not be in the link-local range (169.254.0.0/16, fe80::/10)"),
)
_LINK_LOCAL_MULTICAST = (ipaddress.ip_network("224.0.0.0/24"), ipaddress.ip_network("ff02::/10", strict=False))


def validate_ip(address: str, path: str) -> list[Cause]:
    """An IPv4 or IPv6 address."""
    try:
        ipaddress.ip_address(address)
    except ValueError:
        return [causes.invalid(path, address, _IP)]
    return []


def validate_cidr(network: str, path: str) -> list[Cause]:
    """An IPv4 or IPv6 network."""
    try:
        if "/" not in network:
            return [causes.invalid(path, network, _CIDR)]
        ipaddress.ip_network(network, strict=False)
    except ValueError:
        return [causes.invalid(path, network, _CIDR)]
    return []


def validate_backend_ip(address: str, path: str) -> list[Cause]:
    """An address that traffic can be sent to: not unspecified, loopback or link-local."""
    if found := validate_ip(address, path):
        return found
    parsed = ipaddress.ip_address(address)
    found = [causes.invalid(path, address, sentence) for test, sentence in _SPECIAL if getattr(parsed, test)]
    if any(parsed in network for network in _LINK_LOCAL_MULTICAST if network.version == parsed.version):
        sentence = "may not be in the link-local multicast range (224.0.0.0/24, ff02::/10)"
        found.append(causes.invalid(path, address, sentence))
    return found
