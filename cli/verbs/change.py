"""Small changes to existing objects: `scale`, `label`, `annotate`, `cordon`, `uncordon`."""

from __future__ import annotations

from typing import Annotated

import typer

from cli import completion, options
from cli.arguments import Target, parse_targets
from cli.creating import DRY_RUNS
from cli.printing import say
from cli.session import Session, run
from mesh.errors import Terminal
from mesh.objects.kinds import NODES
from mesh.objects.types import Json

Nodes = Annotated[list[str], typer.Argument(metavar="NODE...", autocompletion=completion.nodes)]
Changes = Annotated[
    list[str],
    typer.Argument(metavar="TYPE NAME... KEY=VALUE... KEY-...", autocompletion=completion.types_and_names),
]


def scale(
    words: options.Words,
    replicas: Annotated[int, typer.Option("--replicas", help="The number of pods wanted.")],
    namespace: options.Namespace = "",
    current: Annotated[int, typer.Option("--current-replicas", help="Only if it is this many now.")] = -1,
) -> None:
    """Set how many pods run: covey scale deploy/web --replicas 5."""

    async def command(session: Session) -> None:
        for target in _named(words):
            if "scale" not in target.resource.subresources:
                raise Terminal(
                    f"cannot scale {target.resource.singular}: only deployments and replicasets have replicas"
                )
            now = await session.client.get(target.resource, target.name, session.namespace)
            have = now["spec"].get("replicas", 1)
            if current >= 0 and have != current:
                raise Terminal(f"Expected replicas to be {current}, was {have}")
            patch = {"spec": {"replicas": replicas}}
            await session.client.patch(target.resource, target.name, session.namespace, patch, subresource="scale")
            say(f"{target} scaled")

    run(command, namespace)


def label(
    words: Changes,
    namespace: options.Namespace = "",
    selector: options.Selector = "",
    everything: Annotated[bool, typer.Option("--all", help="Every object of the type in the namespace.")] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a label that has another value.")] = False,
) -> None:
    """Set or remove labels: covey label pod web tier=front old-."""
    _set_metadata("labels", "labeled", words, namespace, selector, everything, overwrite)


def annotate(
    words: Changes,
    namespace: options.Namespace = "",
    selector: options.Selector = "",
    everything: Annotated[bool, typer.Option("--all", help="Every object of the type in the namespace.")] = False,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace an annotation that has another value.")
    ] = False,
) -> None:
    """Set or remove annotations: covey annotate deploy/web owner=anna."""
    _set_metadata("annotations", "annotated", words, namespace, selector, everything, overwrite)


def _set_metadata(
    field: str, done: str, words: list[str], namespace: str, selector: str, everything: bool, overwrite: bool
) -> None:
    changes: dict[str, str | None] = {}
    names: list[str] = []
    for word in words:
        key, equals, value = word.partition("=")
        if equals:
            changes[key] = value
        elif word.endswith("-") and names:
            changes[word[:-1]] = None
        elif changes:
            raise Terminal(f"all resources must be specified before {field[:-1]} changes: {word}")
        else:
            names.append(word)
    if not changes:
        raise Terminal(f"at least one {field[:-1]} update is required")

    async def command(session: Session) -> None:
        for target in await _resolve(session, names, selector, everything):
            now = await session.client.get(target.resource, target.name, session.namespace)
            have = now["metadata"].get(field) or {}
            for key, value in changes.items():
                if value is not None and key in have and have[key] != value and not overwrite:
                    raise Terminal(f"'{key}' already has a value ({have[key]}), and --overwrite is false")
            effective = {k: v for k, v in changes.items() if have.get(k) != v}
            if effective:
                patch: Json = {"metadata": {field: effective}}
                await session.client.patch(target.resource, target.name, session.namespace, patch)
            say(f"{target} {done if effective else 'not ' + done}")

    run(command, namespace)


async def _resolve(session: Session, names: list[str], selector: str, everything: bool) -> list[Target]:
    targets = parse_targets(names)
    if all(t.name for t in targets):
        return targets
    if not selector and not everything:
        raise Terminal("one or more resources must be specified as <resource> <name> or <resource>/<name>")
    found: list[Target] = []
    for target in targets:
        listing = await session.client.list(target.resource, session.namespace, label_selector=selector)
        found.extend(Target(target.resource, item["metadata"]["name"]) for item in listing.items)
    return found


def cordon(nodes: Nodes) -> None:
    """Keep new pods off nodes."""
    _set_unschedulable(nodes, True)


def uncordon(nodes: Nodes) -> None:
    """Let new pods onto nodes again."""
    _set_unschedulable(nodes, False)


def _set_unschedulable(nodes: list[str], wanted: bool) -> None:
    async def command(session: Session) -> None:
        for name in nodes:
            await set_unschedulable(session, name, wanted)

    run(command)


async def set_unschedulable(session: Session, name: str, wanted: bool, dry_run: str = "none") -> None:
    """Cordon or uncordon one node, and say so."""
    word = "cordoned" if wanted else "uncordoned"
    node = await session.client.get(NODES, name)
    if bool(node["spec"].get("unschedulable")) == wanted:
        say(f"node/{name} already {word}{DRY_RUNS[dry_run]}")
        return
    if dry_run != "client":
        patch = {"spec": {"unschedulable": wanted or None}}
        await session.client.patch(NODES, name, "", patch, dry_run=dry_run == "server")
    say(f"node/{name} {word}{DRY_RUNS[dry_run]}")


def _named(words: list[str]) -> list[Target]:
    targets = parse_targets(words)
    if not all(t.name for t in targets):
        raise Terminal("name the objects: TYPE/NAME or TYPE NAME")
    return targets
