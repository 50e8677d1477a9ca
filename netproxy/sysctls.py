"""The kernel settings that a proxied node needs, per network namespace."""

from __future__ import annotations

import logging
from pathlib import Path

from mesh.errors import Terminal

log = logging.getLogger(__name__)

REQUIRED = {"net/ipv4/ip_forward": "1"}
"""Connections to backends on other nodes, and from outside to pods, are forwarded."""

DESIRED = {"net/netfilter/nf_conntrack_tcp_be_liberal": "1"}
"""A segment outside the window that conntrack expects is otherwise not translated back, and its receiver answers the
stranger with a reset that kills a good connection (kubernetes/kubernetes#74839)."""


def ensure(root: Path = Path("/proc/sys")) -> None:
    """Set what is not set; `Terminal` when forwarding is off and cannot be switched on."""
    for name, value in REQUIRED.items():
        try:
            _write(root / name, value)
        except OSError as error:
            where = name.replace("/", ".")
            raise Terminal(f"cannot set sysctl {where}={value}: {error.strerror}; run the proxy as root") from error
    for name, value in DESIRED.items():
        try:
            _write(root / name, value)
        except OSError as error:
            log.warning("proxy.sysctl_refused name=%s reason=%s", name.replace("/", "."), error.strerror)


def _write(path: Path, value: str) -> None:
    if path.read_text().strip() != value:
        path.write_text(value)
