"""`covey create service`: one of each type, selecting the pods with the label app=NAME, as kubectl makes them."""

from __future__ import annotations

from typing import Annotated

import typer

from cli import options
from cli.creating import manifest
from cli.verbs.create import Name, make
from mesh.errors import Terminal
from mesh.objects.kinds import SERVICES
from mesh.objects.types import Json, Object

app = typer.Typer(no_args_is_help=True, help="Create a service.")
app.callback()(options.before_the_verb)

Tcp = Annotated[list[str], typer.Option("--tcp", help="PORT or PORT:TARGET. May repeat.")]


@app.command("clusterip")
def create_cluster_ip(
    name: Name,
    tcp: Tcp = [],
    address: Annotated[str, typer.Option("--clusterip", help="Address of its own; None for a headless service.")] = "",
    namespace: options.Namespace = "",
    dry_run: options.DryRun = "none",
    output: options.Output = "",
) -> None:
    """Create a service inside the cluster."""
    if not tcp and address != "None":
        raise Terminal("at least one tcp port specifier must be provided")
    more: Object = {"clusterIP": address} if address else {}
    _make(name, "ClusterIP", tcp, namespace, dry_run, output, **more)


@app.command("nodeport")
def create_node_port(
    name: Name,
    tcp: Tcp,
    node_port: Annotated[int, typer.Option("--node-port", help="The port on every node; 0: the cluster chooses.")] = 0,
    namespace: options.Namespace = "",
    dry_run: options.DryRun = "none",
    output: options.Output = "",
) -> None:
    """Create a service that every node's address serves too."""
    _make(name, "NodePort", tcp, namespace, dry_run, output, node_port=node_port)


@app.command("loadbalancer")
def create_load_balancer(
    name: Name,
    tcp: Tcp,
    namespace: options.Namespace = "",
    dry_run: options.DryRun = "none",
    output: options.Output = "",
) -> None:
    """Create a service that a load balancer leads to."""
    _make(name, "LoadBalancer", tcp, namespace, dry_run, output)


@app.command("externalname")
def create_external_name(
    name: Name,
    outside: Annotated[str, typer.Option("--external-name", help="The name outside that it stands for.")],
    tcp: Tcp = [],
    namespace: options.Namespace = "",
    dry_run: options.DryRun = "none",
    output: options.Output = "",
) -> None:
    """Create a service that is another name for one outside."""
    _make(name, "ExternalName", tcp, namespace, dry_run, output, externalName=outside)


def _make(
    name: str, kind: str, tcp: list[str], namespace: str, dry_run: str, output: str, *, node_port: int = 0, **more: Json
) -> None:
    labels = {"app": name}
    ports = [_port(text, node_port) for text in tcp]
    spec: Object = {"type": kind, "selector": labels, **({"ports": ports} if ports else {}), **more}
    make([manifest(SERVICES, name, labels=labels, spec=spec)], namespace, dry_run, output)


def _port(text: str, node_port: int) -> Object:
    """A port as kubectl reads it: `8080`, `8080:80`, `8080:http`."""
    port, _, target = text.partition(":")
    if not port.isdecimal():
        raise Terminal(f"invalid port specification: {text!r}: the port is a number, its target a number or a name")
    target = target or port
    made: Object = {
        "name": text.replace(":", "-"),
        "port": int(port),
        "protocol": "TCP",
        "targetPort": int(target) if target.isdecimal() else target,
    }
    return made | ({"nodePort": node_port} if node_port else {})
