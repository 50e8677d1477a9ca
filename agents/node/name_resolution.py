"""The pod's /etc/hosts and /etc/resolv.conf, as kubelet writes them.

https://kubernetes.io/docs/concepts/services-networking/dns-pod-service/ and
https://kubernetes.io/docs/tasks/network/customize-hosts-file-for-pods/. Pure.
"""

from __future__ import annotations

from collections.abc import Sequence

from agents.node.podspec import host_network, hostname
from mesh.objects.meta import namespace_of
from mesh.objects.types import Object

HEADER = "# Kubernetes-managed hosts file.\n"
HOST_HEADER = "# Kubernetes-managed hosts file (host network).\n"
LOOPBACK = """127.0.0.1\tlocalhost
::1\tlocalhost ip6-localhost ip6-loopback
fe00::0\tip6-localnet
fe00::0\tip6-mcastprefix
fe00::1\tip6-allnodes
fe00::2\tip6-allrouters
"""
CLUSTER_OPTIONS = ("ndots:5",)


def hosts_file(pod: Object, addresses: Sequence[str], cluster_domain: str, node_hosts: str) -> str:
    """The hosts file; a pod on the node's network gets the node's own, `node_hosts`, with its aliases added."""
    if host_network(pod):
        return HOST_HEADER + node_hosts + _aliases(pod)
    name, subdomain = hostname(pod), pod["spec"].get("subdomain")
    names = name
    if subdomain:
        names = f"{name}.{subdomain}.{namespace_of(pod)}.svc.{cluster_domain}\t{name}"
    return HEADER + LOOPBACK + "".join(f"{a}\t{names}\n" for a in addresses) + _aliases(pod)


def _aliases(pod: Object) -> str:
    entries = pod["spec"].get("hostAliases") or ()
    if not entries:
        return ""
    lines = [f"{e['ip']}\t{chr(9).join(e.get('hostnames') or ())}\n" for e in entries]
    return "\n# Entries added by HostAliases.\n" + "".join(lines)


def resolv_conf(pod: Object, cluster_dns: str, cluster_domain: str, node_conf: str) -> str:
    """The resolver configuration. `node_conf` is the node's own, for dnsPolicy Default."""
    spec = pod["spec"]
    policy = spec.get("dnsPolicy") or "ClusterFirst"
    servers, searches, options = _parse(node_conf)
    if policy == "None":
        servers, searches, options = [], [], []
    elif policy == "ClusterFirstWithHostNet" or (policy == "ClusterFirst" and not host_network(pod)):
        domain = cluster_domain
        own = [f"{namespace_of(pod)}.svc.{domain}", f"svc.{domain}", domain]
        servers, searches = [cluster_dns], own + [s for s in searches if s not in own]
        options = list(CLUSTER_OPTIONS)
    custom = spec.get("dnsConfig") or {}
    servers += [s for s in custom.get("nameservers") or () if s not in servers]
    searches += [s for s in custom.get("searches") or () if s not in searches]
    for option in custom.get("options") or ():
        options = [o for o in options if o.split(":", 1)[0] != option["name"]]
        options.append(f"{option['name']}:{option['value']}" if option.get("value") else option["name"])
    text = "".join(f"nameserver {s}\n" for s in servers[:3])
    if searches:
        text = f"search {' '.join(searches[:32])}\n" + text
    if options:
        text += f"options {' '.join(options)}\n"
    return text


def _parse(text: str) -> tuple[list[str], list[str], list[str]]:
    """The name servers, search domains and options of a resolv.conf; the last of each directive wins, as in glibc."""
    servers: list[str] = []
    searches: list[str] = []
    options: list[str] = []
    for line in text.splitlines():
        words = line.split("#", 1)[0].split(";", 1)[0].split()
        if not words:
            continue
        if words[0] == "nameserver" and len(words) > 1:
            servers.append(words[1])
        elif words[0] in {"search", "domain"}:
            searches = words[1:]
        elif words[0] == "options":
            options = words[1:]
    return servers, searches, options
