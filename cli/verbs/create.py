"""`covey create` and `covey run`: new objects from manifests, and a pod from an image."""

from __future__ import annotations

from typing import Annotated

import typer

from cli import options
from cli.arguments import Target
from cli.manifests import Manifest, read_manifests
from cli.printing import check_format, print_objects, say
from cli.session import Session, run
from mesh.errors import Terminal
from mesh.objects.kinds import CONFIGMAPS, DEPLOYMENTS, NAMESPACES, PODS, Resource
from mesh.objects.types import Json, Object


def create(
    words: Annotated[list[str], typer.Argument(metavar="[namespace NAME | deployment NAME | configmap NAME]")] = [],
    namespace: options.Namespace = "",
    files: options.Files = [],
    recursive: options.Recursive = False,
    image: Annotated[list[str], typer.Option("--image", help="deployment: image of a container. May repeat.")] = [],
    replicas: Annotated[int, typer.Option("--replicas", help="deployment: how many pods.")] = 1,
    literals: Annotated[list[str], typer.Option("--from-literal", help="configmap: KEY=VALUE. May repeat.")] = [],
    dry_run: options.DryRun = "none",
    output: options.Output = "",
) -> None:
    """Create objects: covey create -f web.yaml, covey create namespace shop, covey create deployment web --image nginx."""
    check_format(output)
    if files and words:
        raise Terminal("name a manifest with -f or an object to make, not both")
    manifests = read_manifests(files, recursive=recursive) if files else [_made(words, image, replicas, literals)]

    async def command(session: Session) -> None:
        for manifest in manifests:
            await _create(session, manifest, dry_run, output)

    run(command, namespace)


def run_pod(
    name: Annotated[str, typer.Argument(help="Name of the pod.")],
    image: Annotated[str, typer.Option("--image", help="Image to run.")],
    arguments: Annotated[list[str], typer.Argument(metavar="[-- ARGS...]")] = [],
    namespace: options.Namespace = "",
    command_given: Annotated[bool, typer.Option("--command", help="ARGS are the command, not its arguments.")] = False,
    environment: Annotated[list[str], typer.Option("--env", help="NAME=VALUE. May repeat.")] = [],
    labels: Annotated[str, typer.Option("--labels", "-l", help="Labels of the pod: a=b,c=d.")] = "",
    port: Annotated[int, typer.Option("--port", help="Port that the container exposes.")] = 0,
    restart: Annotated[str, typer.Option("--restart", help="Always, OnFailure or Never.")] = "Always",
    pull: Annotated[str, typer.Option("--image-pull-policy", help="Always, IfNotPresent or Never.")] = "",
    dry_run: options.DryRun = "none",
    output: options.Output = "",
) -> None:
    """Run an image in a pod: covey run nginx --image nginx."""
    check_format(output)
    container: Object = {"name": name, "image": image}
    if arguments:
        container["command" if command_given else "args"] = arguments
    if environment:
        container["env"] = [{"name": k, "value": v} for k, v in map(_pair, environment)]
    if port:
        container["ports"] = [{"containerPort": port}]
    if pull:
        container["imagePullPolicy"] = pull
    pod: Object = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "labels": dict(map(_pair, labels.split(","))) if labels else {"run": name}},
        "spec": {"containers": [container], "restartPolicy": restart, "dnsPolicy": "ClusterFirst"},
    }

    async def command(session: Session) -> None:
        await _create(session, Manifest(pod, PODS, "run"), dry_run, output)

    run(command, namespace)


async def _create(session: Session, manifest: Manifest, dry_run: str, output: str) -> None:
    obj, resource = manifest.object, manifest.resource
    if resource.namespaced:
        obj["metadata"].setdefault("namespace", session.namespace)
    suffix = {"none": "", "client": " (dry run)", "server": " (server dry run)"}.get(dry_run)
    if suffix is None:
        raise Terminal(f'Invalid dry-run value ({dry_run}). Must be "none", "server", or "client".')
    made = obj
    if dry_run != "client":
        made = await session.client.create(resource, obj, dry_run=dry_run == "server", strict=True)
    if output:
        print_objects([made], output, [resource], single=True)
    else:
        say(f"{Target(resource, made['metadata']['name'])} created{suffix}")


def _made(words: list[str], images: list[str], replicas: int, literals: list[str]) -> Manifest:
    """The object that `create TYPE NAME` means."""
    if len(words) != 2:
        raise Terminal("must specify one of -f, or: namespace NAME, deployment NAME --image IMAGE, configmap NAME")
    kind, name = words
    if kind in {"namespace", "ns"}:
        return _manifest(NAMESPACES, name)
    if kind in {"configmap", "cm"}:
        return _manifest(CONFIGMAPS, name, data=dict(map(_pair, literals)))
    if kind in {"deployment", "deploy"}:
        if not images:
            raise Terminal('required flag(s) "image" not set')
        labels = {"app": name}
        containers = [{"name": _container_name(image), "image": image} for image in images]
        template = {"metadata": {"labels": labels}, "spec": {"containers": containers}}
        spec = {"replicas": replicas, "selector": {"matchLabels": labels}, "template": template}
        manifest = _manifest(DEPLOYMENTS, name, spec=spec)
        manifest.object["metadata"]["labels"] = labels
        return manifest
    raise Terminal(f"covey create makes namespace, deployment and configmap by name; for {kind} use -f MANIFEST")


def _manifest(resource: Resource, name: str, **fields: Json) -> Manifest:
    obj: Object = {"apiVersion": resource.api_version, "kind": resource.kind, "metadata": {"name": name}, **fields}
    return Manifest(obj, resource, "create")


def _container_name(image: str) -> str:
    """The last part of an image's path, without tag and digest: what kubectl names the container."""
    return image.rpartition("/")[2].partition("@")[0].partition(":")[0]


def _pair(text: str) -> tuple[str, str]:
    key, equals, value = text.partition("=")
    if not equals or not key:
        raise Terminal(f"{text!r}: expected NAME=VALUE")
    return key, value
