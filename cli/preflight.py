"""What must hold before a cluster can run on this machine, each check with the sentence a user sees when it does not.

Checks look and change nothing. They run before `covey up` makes anything, so that a machine that lacks something is
left as it was.
"""

from __future__ import annotations

import errno
import os
import platform
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import docker
from docker.errors import DockerException

from mesh.config import DOCKER_SOCKET
from mesh.errors import Terminal

TOOLS = {"nft": "nftables", "iptables": "iptables", "iptables-restore": "iptables", "conntrack": "conntrack",
         "nsenter": "util-linux", "modprobe": "kmod"}  # fmt: skip
"""Programs that the node's parts call, and the Debian package of each."""

ROOM = 64
"""MiB that must be free for the store, the processes' logs and the nodes' files."""

IP_FREEBIND = 15
"""ip(7): bind to an address that the machine does not have (yet). Python has no name for it."""


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that stands in the way."""

    problem: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.problem}\n  {self.remedy}"


def check_platform() -> Iterable[Finding]:
    """Linux, as root."""
    if platform.system() != "Linux":
        yield Finding(
            f"a cluster on one machine needs Linux, this is {platform.system()}",
            "use virtual machines instead: vagrant up",
        )
    elif os.geteuid() != 0:
        yield Finding(
            "network namespaces and kernel rules are made and removed, which only root may",
            "run it with sudo (the cluster's files will belong to you)",
        )


def check_tools() -> Iterable[Finding]:
    """The programs that are called."""
    missing = sorted({package for tool, package in TOOLS.items() if not shutil.which(tool)})
    if missing:
        yield Finding(f"these packages are missing: {' '.join(missing)}", f"apt-get install {' '.join(missing)}")


def check_docker(url: str) -> Iterable[Finding]:
    """A Docker daemon that answers, on this machine, with its own root as its root."""
    if not url.startswith("unix://"):
        yield Finding(
            f"the Docker daemon at {url} may be another machine's: its containers cannot be wired into the pod network",
            f"use one on this machine, by its socket ({DOCKER_SOCKET}); unset DOCKER_HOST if it names another",
        )
        return
    try:
        client = docker.DockerClient(base_url=url, timeout=10)
        try:
            info = client.info()
        finally:
            client.close()
    except DockerException as error:
        yield Finding(f"no Docker daemon answers at {url}: {error}", _remedy(url, "start it: systemctl start docker"))
        return
    options = " ".join(info.get("SecurityOptions") or ())
    for word, name in (("rootless", "rootless"), ("userns", "userns-remapped")):
        if word in options:
            yield Finding(
                f"the Docker daemon at {url} is {name}: its containers cannot be wired into the pod network",
                _remedy(url, "use the system's daemon (dockerd as root, without userns-remap)"),
            )
    if info.get("OSType", "linux") != "linux":
        yield Finding(f"the Docker daemon at {url} runs {info['OSType']} containers", "use a Linux daemon")


def _remedy(url: str, usual: str) -> str:
    """What to do about a daemon; where the environment led to it, that is what to change."""
    led = url != DOCKER_SOCKET and os.environ.get("DOCKER_HOST") == url
    return f"{usual}, or unset DOCKER_HOST" if led else usual


def check_kernel() -> Iterable[Finding]:
    """What the node's parts need of the kernel: namespaces, nftables, forwarding."""
    if not Path("/proc/self/ns/net").exists():
        yield Finding("this kernel has no network namespaces", "boot one with CONFIG_NET_NS")
    listed = subprocess.run(["nft", "list", "tables"], capture_output=True, text=True, check=False)
    if listed.returncode:
        yield Finding(
            f"this kernel's nftables does not answer: {listed.stderr.strip()}",
            "load it: modprobe nf_tables (or boot a kernel with CONFIG_NF_TABLES)",
        )
    if not Path("/proc/sys/net/ipv4/ip_forward").exists():
        yield Finding("this machine has no IPv4", "Covey's first address family is IPv4")


def check_room(home: Path) -> Iterable[Finding]:
    """That the cluster's files have room: a broker on a full disk starts, and can store nothing."""
    there = next(folder for folder in (home, *home.parents) if folder.exists())
    free = shutil.disk_usage(there).free // 2**20
    if free < ROOM:
        yield Finding(
            f"only {free} MiB are free where the cluster's files are to lie ({home}); it needs {ROOM} MiB to begin with",
            "make room there, or choose another place: COVEY_HOME=DIR covey up",
        )


def check_ports(ports: Iterable[tuple[str, int, str]]) -> Iterable[Finding]:
    """That nobody listens on the (address, port, purpose) that the cluster will use. An address may be one that the
    machine does not have yet: then it is taken by who listens on all of them."""
    for address, port, purpose in ports:
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.setsockopt(socket.IPPROTO_IP, IP_FREEBIND, 1)
            try:
                probe.bind((address, port))
            except OSError as error:
                if error.errno != errno.EADDRINUSE:
                    raise
                yield Finding(
                    f"port {port} ({purpose}) is taken{_listener(port)}",
                    f"stop what listens there, or choose another: covey up --{purpose}-port PORT",
                )


def _listener(port: int) -> str:
    """Who listens on a port, as far as can be seen: " by nginx (pid 812)"."""
    import psutil

    for connection in psutil.net_connections("tcp"):
        if connection.status == psutil.CONN_LISTEN and connection.pid and tuple(connection.laddr)[1:] == (port,):
            return f" by {psutil.Process(connection.pid).name()} (pid {connection.pid})"
    return ""


def require(*checks: Callable[[], Iterable[Finding]]) -> None:
    """Run checks in order; the first that finds something ends it, with all it found, as `Terminal`."""
    for check in checks:
        findings = list(check())
        if findings:
            raise Terminal("\n".join(str(finding) for finding in findings))


def main() -> None:
    """`python -m cli.preflight URL`: whether the Docker daemon there can be used, for scripts/bootstrap.sh."""
    try:
        require(lambda: check_docker(sys.argv[1]))
    except Terminal as error:
        sys.exit(f"covey: {error}")


if __name__ == "__main__":
    main()
