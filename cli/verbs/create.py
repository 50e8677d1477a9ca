"""`covey create`: objects from manifests, and of the common kinds from options."""

from __future__ import annotations

from typing import Annotated

import typer

from cli import options
from cli.creating import Creator, check_dry_run, manifest
from cli.manifests import Manifest, read_manifests
from cli.printing import check_format
from cli.session import Session, run
from mesh.errors import Terminal
from mesh.objects.kinds import DEPLOYMENTS, NAMESPACES, SERVICEACCOUNTS
from mesh.objects.types import Object

Name = Annotated[str, typer.Argument(help="Name of the object.")]


def create(
    ctx: typer.Context,
    namespace: options.Namespace = "",
    files: options.Files = [],
    recursive: options.Recursive = False,
    dry_run: options.DryRun = "none",
    output: options.Output = "",
) -> None:
    """Create objects: covey create -f web.yaml, covey create deployment web --image nginx."""
    if ctx.invoked_subcommand and files:
        raise Terminal("name a manifest with -f or an object to make, not both")
    if ctx.invoked_subcommand:
        return
    if not files:
        raise Terminal("must specify one of -f and -k, or a kind: covey create --help")
    make(read_manifests(files, recursive=recursive), namespace, dry_run, output)


def make(manifests: list[Manifest], namespace: str, dry_run: str, output: str) -> None:
    """Create each of them."""
    check_format(output)
    check_dry_run(dry_run)

    async def command(session: Session) -> None:
        creator = Creator(session, dry_run, output)
        for each in manifests:
            await creator.create(each)

    run(command, namespace)


def create_namespace(name: Name, dry_run: options.DryRun = "none", output: options.Output = "") -> None:
    """Create a namespace."""
    make([manifest(NAMESPACES, name)], "", dry_run, output)


def create_service_account(
    name: Name, namespace: options.Namespace = "", dry_run: options.DryRun = "none", output: options.Output = ""
) -> None:
    """Create a service account."""
    make([manifest(SERVICEACCOUNTS, name)], namespace, dry_run, output)


def create_deployment(
    name: Name,
    image: Annotated[list[str], typer.Option("--image", help="Image of a container. May repeat.")],
    arguments: Annotated[list[str], typer.Argument(metavar="[-- COMMAND [ARGS...]]")] = [],
    replicas: Annotated[int, typer.Option("--replicas", help="How many pods.")] = 1,
    port: Annotated[int, typer.Option("--port", help="Port that the first container exposes.")] = 0,
    namespace: options.Namespace = "",
    dry_run: options.DryRun = "none",
    output: options.Output = "",
) -> None:
    """Create a deployment: covey create deployment web --image nginx --replicas 3."""
    if arguments and len(image) > 1:
        raise Terminal("cannot specify multiple --image options and command")
    labels = {"app": name}
    containers: list[Object] = [{"name": _container_name(each), "image": each} for each in image]
    if arguments:
        containers[0]["command"] = arguments
    if port:
        containers[0]["ports"] = [{"containerPort": port}]
    template = {"metadata": {"labels": labels}, "spec": {"containers": containers}}
    spec = {"replicas": replicas, "selector": {"matchLabels": labels}, "template": template}
    make([manifest(DEPLOYMENTS, name, labels=labels, spec=spec)], namespace, dry_run, output)


def _container_name(image: str) -> str:
    """The last part of an image's path, without tag and digest: what kubectl names the container."""
    return image.rpartition("/")[2].partition("@")[0].partition(":")[0]
