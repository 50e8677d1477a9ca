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
        return asyncio.run(_fetched(resource, _namespace(ctx)))
    except (CoveyError, OSError, TimeoutError):  # no cluster, or not now
        return []


def _namespace(ctx: typer.Context) -> str:
    """The one given after the verb, or before it."""
    above = ctx.find_root()
    return str(ctx.params.get("namespace") or above.params.get("namespace") or "")


async def _fetched(resource: Resource, namespace: str) -> list[str]:
    async with asyncio.timeout(_SECONDS), connect(namespace) as session:
        return [name_of(item) for item in (await session.client.list(resource, session.namespace)).items]
