"""`covey`: the command. Each process's entry point and each verb is imported only when it is called.

Errors end as one sentence on stderr: what, where, and what to do; never a traceback for something a user can cause.
"""

from __future__ import annotations

import io
import logging
import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from cli import process
from mesh.errors import ApiError, CoveyError, Terminal

app = typer.Typer(
    name="covey",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    help="Run and administer a Covey cluster: Kubernetes' objects, behaviour and API, with NATS between all its parts.",
)

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


def _register_verbs() -> None:
    """Verbs live in files of their own. Typer needs the functions to know their options, so they are imported here; what
    they need beyond that (NATS, the kernel) they import when they run."""
    from cli.verbs import about, apply, change, create, delete, describe, drain, get, logs, port_forward, rollout
    from cli.verbs import exec as exec_verbs

    objects, pods, cluster = "Objects", "Pods", "Cluster"
    for name, function, panel in (
        ("get", get.get, objects),
        ("describe", describe.describe_verb, objects),
        ("apply", apply.apply, objects),
        ("create", create.create, objects),
        ("delete", delete.delete, objects),
        ("scale", change.scale, objects),
        ("label", change.label, objects),
        ("annotate", change.annotate, objects),
        ("events", about.events, objects),
        ("run", create.run_pod, pods),
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
        app.command(name, rich_help_panel=panel)(function)
    app.add_typer(rollout.app, name="rollout", rich_help_panel=objects)


def main() -> None:
    """The console entry point. A Ctrl-C ends it at any time with status 130, as a shell would expect it."""
    try:
        _main()
    except KeyboardInterrupt:
        sys.exit(130)


def _main() -> None:
    _open_outputs()
    _register_verbs()
    if "COVEY_LOG" not in os.environ:  # a user reads sentences; processes configure their own log
        logging.getLogger().addHandler(logging.NullHandler())
    try:
        try:
            app()
        finally:
            sys.stdout.flush()  # here, where a failure can still be told
    except ApiError as error:
        from cli.session import sentence

        sys.exit(sentence(error))
    except CoveyError as error:
        sys.exit(f"covey: {error}")
    except BrokenPipeError:  # whoever read our output (head, less) has had enough
        _discard_output()
        sys.exit(0)
    except OSError as error:  # a file of ours or of the user's, the disk, the output
        _discard_output()
        sys.exit(f"covey: {error.filename or 'standard output'}: {error.strerror or error}")


def _open_outputs() -> None:
    """Whatever we were started with, there is somewhere to write to, and it takes every character."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:  # closed by who started us (>&-)
            setattr(sys, name, Path(os.devnull).open("w"))  # noqa: SIM115 - until we end
        elif isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _discard_output() -> None:
    """Python writes what is left in its buffer when it ends, and would complain about that."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


if __name__ == "__main__":
    main()
