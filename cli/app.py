"""`covey`: the command and its verbs. Each process's entry point is imported only when it is called."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from cli import options, process
from cli.flags import Command
from mesh.errors import Terminal

app = typer.Typer(
    name="covey",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    help="Run and administer a Covey cluster: Kubernetes' objects, behaviour and API, with NATS between all its parts.",
)

app.callback()(options.before_the_verb)

ConfigFile = Annotated[Path, typer.Option("--config", help="Configuration file of the process (YAML).")]


@app.command(rich_help_panel="Processes")
def server(config: ConfigFile) -> None:
    """Run the control plane: API server, scheduler, controllers."""
    process.server(config)


@app.command(rich_help_panel="Processes")
def agent(
    config: Annotated[Path | None, typer.Option("--config", help="Configuration file of the node (YAML).")] = None,
    runtime: Annotated[
        str, typer.Option("--runtime", help="fake: play nodes whose containers are only records, for scale.")
    ] = "",
    count: Annotated[
        int, typer.Option("--count", min=1, max=10_000, help="With --runtime fake: how many nodes, fake-1 and on.")
    ] = 1,
) -> None:
    """Run a node's agent: pods, pod network, DNS.

    `covey agent --runtime fake --count 100` instead joins a hundred nodes that are only played to the cluster of
    $COVEY_HOME, all in this process, until it is interrupted. They carry the label covey.dev/fake=true.
    """
    if runtime not in {"", "fake"}:
        raise Terminal(f"--runtime {runtime}: only fake can be asked for here; a real node's is in its --config file")
    if (config is None) != (runtime == "fake"):
        raise Terminal("give either --config FILE (a real node), or --runtime fake with --count N (played nodes)")
    if config is None:
        process.fake_agents(count)
    else:
        process.agent(config)


@app.command(rich_help_panel="Processes")
def proxy(config: ConfigFile) -> None:
    """Run a node's service proxy: Services and endpoints to kernel rules."""
    process.proxy(config)


@app.command(rich_help_panel="Cluster")
def up(
    *,
    nodes: Annotated[int | None, typer.Option("--nodes", min=1, max=100, help="How many nodes; 3 at first.")] = None,
    api_port: Annotated[
        int | None, typer.Option("--api-port", min=1, max=65535, help="Port of the HTTPS API; 6443 at first.")
    ] = None,
    broker_port: Annotated[
        int | None, typer.Option("--broker-port", min=1, max=65535, help="Port of the broker; 4222 at first.")
    ] = None,
    proxy_mode: Annotated[
        str | None, typer.Option("--proxy-mode", help="nftables (at first) or iptables; may be changed at any time.")
    ] = None,
    docker_socket: Annotated[
        str | None,
        typer.Option(
            "--docker-socket", help="URL of the Docker daemon, when the cluster is first made; at first DOCKER_HOST's."
        ),
    ] = None,
    name: Annotated[str | None, typer.Option("--name", help="Name of the cluster, when it is first made.")] = None,
) -> None:
    """Start a cluster on this machine, or bring a running one to this number of nodes."""
    from cli.layout import Layout
    from cli.up import up
    from cli.wanted import Wanted
    from mesh.config import home

    wanted = Wanted(
        name=name,
        nodes=nodes,
        api_port=api_port,
        broker_port=broker_port,
        proxy_mode=proxy_mode,
        docker_socket=docker_socket,
    )
    try:
        cluster = up(Layout(home()), wanted, lambda text: typer.echo(f"  {text}"))
    except KeyboardInterrupt:
        typer.echo("\ninterrupted; covey up goes on from here, covey down removes what is there", err=True)
        raise
    typer.echo(f"cluster {cluster.name} is up: {len(cluster.nodes)} nodes Ready")


@app.command(rich_help_panel="Cluster")
def down(
    keep_data: Annotated[bool, typer.Option("--keep-data", help="Keep the store and the identities.")] = False,
) -> None:
    """Stop the cluster on this machine and remove everything it made."""
    from cli.layout import Layout
    from cli.up import down
    from mesh.config import home

    found = down(Layout(home()), lambda text: typer.echo(f"  {text}"), keep_data=keep_data)
    typer.echo("the cluster is gone" if found else "there is no cluster")


@app.command(hidden=True)
def quickstart() -> None:
    """Start a cluster, run the example in it and show that it serves (`make quickstart`)."""
    from cli.layout import Layout
    from cli.quickstart import quickstart
    from cli.wanted import Wanted
    from mesh.config import home

    quickstart(Layout(home()), Wanted())


def register_verbs() -> None:
    """Verbs live in files of their own. Typer needs the functions to know their options, so they are imported here; what
    they need beyond that (NATS, the kernel) they import when they run."""
    from cli.verbs import (
        about,
        apply,
        change,
        create,
        create_data,
        create_service,
        delete,
        describe,
        drain,
        get,
        logs,
        port_forward,
        rollout,
    )
    from cli.verbs import exec as exec_verbs
    from cli.verbs import run as run_verb

    objects, pods, cluster = "Objects", "Pods", "Cluster"
    for name, function, panel in (
        ("get", get.get, objects),
        ("describe", describe.describe_verb, objects),
        ("apply", apply.apply, objects),
        ("delete", delete.delete, objects),
        ("scale", change.scale, objects),
        ("label", change.label, objects),
        ("annotate", change.annotate, objects),
        ("events", about.events, objects),
        ("run", run_verb.run_pod, pods),
        ("logs", logs.logs, pods),
        ("exec", exec_verbs.exec_in, pods),
        ("attach", exec_verbs.attach, pods),
        ("port-forward", port_forward.port_forward, pods),
        ("cordon", change.cordon, cluster),
        ("uncordon", change.uncordon, cluster),
        ("drain", drain.drain, cluster),
        ("version", about.show_version, cluster),
        ("kubeconfig", about.kubeconfig, cluster),
    ):
        app.command(name, cls=Command, rich_help_panel=panel)(function)
    creating = typer.Typer(invoke_without_command=True, callback=create.create)
    kinds: tuple[tuple[str, str, Callable[..., None]], ...] = (
        ("namespace", "ns", create.create_namespace),
        ("deployment", "deploy", create.create_deployment),
        ("configmap", "cm", create_data.create_config_map),
        ("serviceaccount", "sa", create.create_service_account),
    )
    for kind, short, making in kinds:
        creating.command(kind)(making)
        creating.command(short, hidden=True)(making)
    creating.add_typer(create_data.app, name="secret")
    creating.add_typer(create_service.app, name="service")
    creating.add_typer(create_service.app, name="svc", hidden=True)
    app.add_typer(creating, name="create", rich_help_panel=objects)
    app.add_typer(rollout.app, name="rollout", rich_help_panel=objects)
