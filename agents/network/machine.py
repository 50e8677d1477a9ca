"""Makes and removes the nodes of one machine: namespaces, links, addresses, routes, packet filter rules.

Used by `covey up` and `covey down`, as root, in the machine's own namespace. Calls block for tens of milliseconds and
move the calling thread between namespaces: call them from a thread of your own (or a process without an event loop).
Everything made carries the cluster's name (link aliases, rule comments), is found again by it, and nothing else is
ever touched.

A hostNetwork pod must join its node's namespace, and Docker can join a container only to another container's. So each
node has a *holder* container whose process is in the node's namespace. The namespace comes first, bound under
/run/netns, and the holder enters it with nsenter(1) (`holder_command`): so it does not depend on Docker, and a holder
that is restarted is in the same namespace again, with all links and connections. (A holder made first, whose own
namespace would become the node's, gets a fresh and empty one from Docker with each restart.)
"""

from __future__ import annotations

import errno
import os
import subprocess
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from agents.network import firewall, names
from agents.network.items import Action, Address, Alias, Bridge, Ensure, Item, Remove, Up, Veth, difference
from agents.network.messages import index_of, name_of
from agents.network.netlink import Netlink, read_sysctls
from agents.network.topology import Topology, comment_of, host_rules, in_node, node_link, on_host
from mesh import netns
from mesh.errors import Terminal

HOLDER_MOUNT = "/netns"
"""Where a holder container sees its node's namespace."""


def holder_command() -> tuple[str, ...]:
    """What a holder container runs. Start it with network none, capability SYS_ADMIN, `node_netns(...)` bind-mounted
    read-only at HOLDER_MOUNT, and an image with busybox; then wait for `holder_ready`."""
    return ("nsenter", f"--net={HOLDER_MOUNT}", "sleep", "2147483647")


def holder_ready(pid: int, cluster: str, node: str) -> bool:
    """Whether the process has entered the node's namespace: before that nothing may join it."""
    return netns.same(f"/proc/{pid}/ns/net", node_netns(cluster, node))


def node_netns(cluster: str, node: str) -> Path:
    """The path of a node's namespace."""
    return netns.path_of(names.namespace(cluster, node))


def existing_routes() -> list[str]:
    """Destinations that this machine routes, and its resolvers: what `ranges.choose_ranges` must avoid."""
    with Netlink() as kernel:
        return [*kernel.destinations(), *(a.address for a in kernel.addresses()), *_resolvers()]


def raise_nodes(topology: Topology) -> tuple[Action, ...]:
    """Make the machine hold exactly these nodes of the cluster; what is as it should be stays untouched, so a second
    call returns no actions. Raises `Terminal` or `KernelRefusal` with a sentence."""
    _bind_machine_namespace(topology.cluster)
    wanted = {names.namespace(topology.cluster, place.name) for place in topology.nodes}
    host = on_host(topology)
    done: list[Action] = []
    with Netlink() as kernel:
        surplus = [link for link in _own_links(kernel, topology.cluster) if link not in host]
        done += _apply(kernel, (Remove(link) for link in surplus if isinstance(link, Veth)))
        for name in _own_namespaces(topology.cluster) - wanted:
            _delete_namespace(name)
        for place in topology.nodes:
            if not _add_namespace(topology.cluster, place.name):
                done += _apply(kernel, (Remove(node_link(topology, place)),))  # its other end is not in there
        done += _apply(kernel, difference(host, _observe_host(kernel, topology)))
    for place in topology.nodes:
        with netns.within(node_netns(topology.cluster, place.name)), Netlink() as kernel:
            items = in_node(topology, place)
            done += _apply(kernel, difference(items, [item for item in _observe_node(kernel, items) if item in items]))
    firewall.ensure_rules(host_rules(topology), comment_of(topology.cluster))
    firewall.trust_interface(topology.bridge, trusted=True)
    return tuple(done)


def remove_nodes(cluster: str) -> None:
    """Remove everything `raise_nodes` ever made for the cluster; nothing there is fine."""
    firewall.trust_interface(names.bridge(cluster), trusted=False)
    firewall.ensure_rules((), comment_of(cluster))
    with Netlink() as kernel:
        own = _own_links(kernel, cluster)
        _apply(kernel, [Remove(link) for link in sorted(own, key=lambda link: isinstance(link, Bridge))])
    for name in _own_namespaces(cluster):
        _delete_namespace(name)
    _unbind_machine_namespace(cluster)


def _apply(kernel: Netlink, actions: Iterable[Action]) -> list[Action]:
    applied = list(actions)
    kernel.apply(applied)
    return applied


def _own_links(kernel: Netlink, cluster: str) -> list[Bridge | Veth]:
    """Links marked as this cluster's, whether they are up or not."""
    bridge, prefix = names.bridge_alias(cluster), names.node_alias(cluster, "")
    own: list[Bridge | Veth] = []
    for link in kernel.links():
        if link["kind"] == "bridge" and link["alias"] == bridge:
            own.append(Bridge(link["name"], link["alias"], link["mtu"], link["mac"]))
        elif link["kind"] == "veth" and link["alias"].startswith(prefix):
            master = name_of(link["master"])
            own.append(Veth(link["name"], link["alias"], link["mtu"], mac=link["mac"], master=master))
    return own


def _observe_host(kernel: Netlink, topology: Topology) -> list[Item]:
    links = [i for i in kernel.link_items() if isinstance(i, Bridge | Veth)]
    prefix = names.bridge_alias(topology.cluster)
    ours: list[Item] = [i for i in links if i.alias == prefix or i.alias.startswith(prefix + " ")]
    addresses: list[Address] = [a for a in kernel.addresses(topology.bridge) if ":" not in a.address]
    return [*ours, *addresses, *read_sysctls(on_host(topology))]


def _observe_node(kernel: Netlink, wanted: Iterable[Item]) -> list[Item]:
    links = kernel.links()
    ups: list[Item] = [Up(link["name"]) for link in links if link["up"]]
    return [*ups, *kernel.aliases(), *kernel.addresses("eth0"), *kernel.routes(), *read_sysctls(wanted)]


def _own_namespaces(cluster: str) -> set[str]:
    """Named namespaces whose lo is marked as this cluster's. (Names alone could belong to a cluster "a-b" as well.)"""
    found = set()
    for path in filter(os.path.ismount, netns.RUN_DIR.glob(f"covey-{cluster}-*")):
        with netns.within(path), Netlink() as kernel:
            marks = {alias.text for alias in kernel.aliases("lo")}
        if any(mark.startswith(names.node_alias(cluster, "")) for mark in marks):
            found.add(path.name)
    return found


def _add_namespace(cluster: str, node: str) -> bool:
    """Make sure that the node's namespace exists and is marked; says whether it has an eth0."""
    path = node_netns(cluster, node)
    if path.is_dir():
        path.rmdir()  # made by Docker, for a container that was to start with the machine and wanted it mounted
    elif path.exists() and not os.path.ismount(path):
        path.unlink()  # left by an `ip netns add` that was killed, or by one in another mount namespace
    if not path.exists():
        _ip_netns("add", path.name)
    with netns.within(path), Netlink() as kernel:
        kernel.apply([Ensure(Alias("lo", names.node_alias(cluster, node)))])
        return index_of("eth0") != 0


def _delete_namespace(name: str) -> None:
    _ip_netns("delete", name)


def _bind_machine_namespace(cluster: str) -> None:
    """Let the nodes' agents find the machine's own namespace: a resolver on its loopback is asked from there."""
    path = netns.machine_path(cluster)
    if netns.same(path, "/proc/thread-self/ns/net"):
        return
    _unbind_machine_namespace(cluster)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
    _run("mount", "--bind", "/proc/self/ns/net", str(path))


def _unbind_machine_namespace(cluster: str) -> None:
    path = netns.machine_path(cluster)
    if os.path.ismount(path):
        _run("umount", str(path))
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        if error.errno != errno.EBUSY:
            raise
        return  # somebody's copy of /run (a chroot's) has it mounted too: an empty file stays, and is used again
    if path.parent.exists():
        path.parent.rmdir()
        with suppress(OSError):  # another cluster's is in there
            path.parent.parent.rmdir()


def _ip_netns(verb: str, name: str) -> None:
    """iproute2 does the mounting: /run/netns has to be shared with other mount namespaces in just its way."""
    _run("ip", "netns", verb, name)


def _run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise Terminal(f"{' '.join(command)}: {done.stderr.strip()}")


def _resolvers() -> list[str]:
    path = Path("/etc/resolv.conf")
    lines = path.read_text().splitlines() if path.exists() else []
    return [words[1].partition("%")[0] for line in lines if len(words := line.split()) > 1 and words[0] == "nameserver"]
