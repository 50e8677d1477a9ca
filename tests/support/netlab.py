"""A small world of namespaces on this machine for tests of the pod network: raised nodes, pods, and tools inside them.

Names and ranges carry the test process's id, so that several test runs can share the machine.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from agents.network import machine
from agents.network.topology import Topology, lay_out

_serial = itertools.count()


def unique(prefix: str) -> str:
    """A name that no other test run uses at the same time."""
    return f"{prefix}{os.getpid():x}-{next(_serial)}"


def free_octet() -> int:
    """A second octet for 10.x.0.0/16 ranges of this test."""
    return 130 + (os.getpid() * 7 + next(_serial)) % 120


def sh(command: str, netns: str | Path = "", *, check: bool = True) -> str:
    """The output of a shell command, in the namespace at a path or by name."""
    prefix = ["nsenter", f"--net={netns}"] if netns else []
    done = subprocess.run([*prefix, "sh", "-c", command], capture_output=True, text=True, check=False)
    if check and done.returncode != 0:
        raise AssertionError(f"{command}: exit {done.returncode}\n{done.stdout}{done.stderr}")
    return done.stdout


def pings(address: str, netns: str | Path = "", *, size: int = 56, fragment: bool = True) -> bool:
    """Whether an echo request is answered within two seconds. `fragment=False` sets DF."""
    code = _PING.format(address=address, size=size, df=0 if fragment else 2)
    prefix = ["nsenter", f"--net={netns}"] if netns else []
    return subprocess.run([*prefix, "python3", "-c", code], capture_output=True, check=False).returncode == 0


_PING = """
import select, socket, struct, sys, time
s = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP)
s.setsockopt(socket.IPPROTO_IP, 10, {df})
def checksum(data):
    total = sum(struct.unpack("!%dH" % (len(data) // 2), data))
    total = (total >> 16) + (total & 0xFFFF)
    return ~(total + (total >> 16)) & 0xFFFF
body = b"x" * {size}
head = struct.pack("!BBHHH", 8, 0, 0, 4711, 1)
packet = struct.pack("!BBHHH", 8, 0, checksum(head + body), 4711, 1) + body
end = time.monotonic() + 2
s.connect(("{address}", 0))
s.send(packet)
while (left := end - time.monotonic()) > 0:
    if not select.select([s], [], [], left)[0]:
        break
    answer = s.recv(65536)
    if answer[20] == 0 and answer[24:26] == struct.pack("!H", 4711):
        sys.exit(0)
sys.exit(1)
"""


@contextmanager
def raised(count: int) -> Iterator[Topology]:
    """Nodes of one cluster, removed at the end."""
    topology = lay_out(unique("t"), f"10.{free_octet()}.0.0/24", [f"n{i}" for i in range(1, count + 1)])
    try:
        machine.raise_nodes(topology)
        yield topology
    finally:
        machine.remove_nodes(topology.cluster)


@contextmanager
def namespace() -> Iterator[Path]:
    """A bare network namespace, as a sandbox's before the pod network has seen it."""
    name = unique("cvt")
    sh(f"ip netns add {name}")
    try:
        yield Path("/run/netns") / name
    finally:
        sh(f"ip netns delete {name}", check=False)


@contextmanager
def routed(count: int) -> Iterator[list[tuple[Path, str]]]:
    """Node namespaces that share no link: each on a subnet of its own behind one router. Yields path and address."""
    router, octet = unique("cvr"), free_octet()
    made = [router]
    try:
        sh(f"ip netns add {router}; ip netns exec {router} sysctl -qw net.ipv4.ip_forward=1")
        found = []
        for number in range(1, count + 1):
            name, subnet = unique("cvr"), f"10.{octet}.{number}"
            made.append(name)
            sh(
                f"ip netns add {name} && ip -n {name} link set lo up"
                f" && ip -n {router} link add e{number} type veth peer name eth0 netns {name}"
                f" && ip -n {router} addr add {subnet}.1/24 dev e{number} && ip -n {router} link set e{number} up"
                f" && ip -n {name} addr add {subnet}.10/24 dev eth0 && ip -n {name} link set eth0 up"
                f" && ip -n {name} route add default via {subnet}.1"
            )
            found.append((Path("/run/netns") / name, f"{subnet}.10"))
        yield found
    finally:
        for name in made:
            sh(f"ip netns delete {name}", check=False)


async def until(condition: Callable[[], bool], what: str) -> None:
    """Wait until the condition holds; the test's own timeout is the limit, this one only words the failure."""
    for _ in range(400):
        if condition():
            return
        await asyncio.sleep(0.05)
    raise AssertionError(f"did not happen: {what}")
