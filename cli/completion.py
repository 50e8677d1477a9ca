"""What the shell offers after TAB: types of resources, and names of objects that are there. Never a complaint: where
nothing can be offered, the line stays as it is."""

from __future__ import annotations

import asyncio

import typer

from cli.arguments import find_resource
from cli.session import connect
from mesh.errors import CoveyError
from mesh.objects.kinds import BUILT_IN, DEPLOYMENTS, NAMESPACES, NODES, PODS, REPLICASETS, SERVICES, Resource
from mesh.objects.meta import name_of
from mesh.objects.types import Object

_SECONDS = 2.0
"""Longer than this nobody waits for a suggestion."""
_WITH_PODS = (DEPLOYMENTS, REPLICASETS, SERVICES)


def types_and_names(ctx: typer.Context, incomplete: str) -> list[str]:
    """`TYPE`, then names of that type; `TYPE/NAME`."""
    given = ctx.params.get("words") or ()
    kind, slash, begun = incomplete.partition("/")
    if slash:
        return [f"{kind}/{name}" for name in _names_of(ctx, kind) if name.startswith(begun)]
    if given and "/" not in given[0]:
        return [name for name in _names_of(ctx, given[0]) if name.startswith(incomplete) and name not in given]
    return [resource.plural for resource in BUILT_IN if resource.plural.startswith(incomplete)]


def pods(ctx: typer.Context, incomplete: str) -> list[str]:
    """Names of pods, and `TYPE/NAME` of what has pods."""
    kind, slash, begun = incomplete.partition("/")
    if slash:
        return [f"{kind}/{name}" for name in _names_of(ctx, kind) if name.startswith(begun)]
    kinds = [f"{resource.singular}/" for resource in _WITH_PODS]
    return [word for word in [*_names(ctx, PODS), *kinds] if word.startswith(incomplete)]


def containers(ctx: typer.Context, incomplete: str) -> list[str]:
    """Names of the containers of the pod that was named."""
    pod = str(ctx.params.get("pod") or "").removeprefix("pod/").removeprefix("pods/")
    try:
        found = (
            asyncio.run(_fetched(PODS, str(ctx.params.get("namespace") or ""), f"metadata.name={pod}")) if pod else []
        )
    except (CoveyError, OSError, TimeoutError):  # no cluster, or not now
        return []
    names = [c["name"] for p in found for c in [*(p["spec"].get("initContainers") or ()), *p["spec"]["containers"]]]
    return [name for name in names if name.startswith(incomplete)]


def deployments(ctx: typer.Context, incomplete: str) -> list[str]:
    """`deployment/NAME`."""
    return [word for name in _names(ctx, DEPLOYMENTS) if (word := f"deployment/{name}").startswith(incomplete)]


def nodes(ctx: typer.Context, incomplete: str) -> list[str]:
    """Names of nodes."""
    return [name for name in _names(ctx, NODES) if name.startswith(incomplete)]


def namespaces(ctx: typer.Context, incomplete: str) -> list[str]:
    """Names of namespaces."""
    return [name for name in _names(ctx, NAMESPACES) if name.startswith(incomplete)]


def _names_of(ctx: typer.Context, word: str) -> list[str]:
    try:
        return _names(ctx, find_resource(word))
    except CoveyError:  # no such type
        return []


def _names(ctx: typer.Context, resource: Resource) -> list[str]:
    try:
        return [name_of(item) for item in asyncio.run(_fetched(resource, str(ctx.params.get("namespace") or "")))]
    except (CoveyError, OSError, TimeoutError):  # no cluster, or not now
        return []


async def _fetched(resource: Resource, namespace: str, field_selector: str = "") -> list[Object]:
    async with asyncio.timeout(_SECONDS), connect(namespace) as session:
        return (await session.client.list(resource, session.namespace, field_selector=field_selector)).items
