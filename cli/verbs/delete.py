"""`covey delete`: objects by name, by label, or those of a manifest; waits until they are gone."""

from __future__ import annotations

import asyncio
from typing import Annotated

import typer

from cli import options
from cli.arguments import Target, parse_targets
from cli.manifests import read_manifests
from cli.printing import say
from cli.session import Session, run
from cli.waiting import await_gone
from mesh.errors import NotFound, Terminal
from mesh.objects.meta import namespace_of, uid_of

_POLICIES = {"background": "Background", "foreground": "Foreground", "orphan": "Orphan"}


def delete(
    words: options.Words = [],
    namespace: options.Namespace = "",
    files: options.Files = [],
    recursive: options.Recursive = False,
    selector: options.Selector = "",
    everything: Annotated[bool, typer.Option("--all", help="Every object of the type in the namespace.")] = False,
    cascade: Annotated[str, typer.Option("--cascade", help="background, foreground or orphan.")] = "background",
    grace_period: Annotated[
        int, typer.Option("--grace-period", help="Seconds to end in; -1 is the object's own.")
    ] = -1,
    now: Annotated[bool, typer.Option("--now", help="Same as --grace-period=1.")] = False,
    force: Annotated[bool, typer.Option("--force", help="With --grace-period=0: do not wait for the node.")] = False,
    ignore_not_found: Annotated[bool, typer.Option("--ignore-not-found", help="An absent object is no error.")] = False,
    wait: Annotated[bool, typer.Option("--wait/--no-wait", help="Wait until the objects are gone.")] = True,
) -> None:
    """Delete objects: covey delete pod web, covey delete -f web.yaml, covey delete pods -l app=web."""
    if cascade not in _POLICIES:
        raise Terminal(f'invalid cascade value ({cascade}). Must be "background", "foreground", or "orphan"')
    grace = 1 if now else (0 if force and grace_period < 0 else grace_period)

    async def command(session: Session) -> None:
        targets = await _targets(session, words, files, recursive, selector, everything)
        if not targets:
            say("No resources found")
        gone = []
        for target, where in targets:
            try:
                answer = await session.client.delete(
                    target.resource, target.name, where,
                    propagation=_POLICIES[cascade], grace_period_seconds=None if grace < 0 else grace,
                )  # fmt: skip
            except NotFound:
                if not ignore_not_found and not selector and not everything:
                    raise
                continue
            forced = " force" if force else ""
            say(f'{str(target).replace("/", " ", 1).replace(target.name, chr(34) + target.name + chr(34))}{forced} deleted'
                + (f" from {where} namespace" if where else ""))  # fmt: skip
            uid = str((answer.get("details") or {}).get("uid") or uid_of(answer))
            gone.append((target, where, uid))
        if wait:
            await asyncio.gather(*(await_gone(session, t.resource, t.name, where, uid) for t, where, uid in gone))

    run(command, namespace)


async def _targets(
    session: Session, words: list[str], files: list[str], recursive: bool, selector: str, everything: bool
) -> list[tuple[Target, str]]:
    """What to delete, each with its namespace."""
    if files:
        found = []
        for manifest in read_manifests(files, recursive=recursive):
            where = namespace_of(manifest.object) or session.namespace if manifest.resource.namespaced else ""
            found.append((Target(manifest.resource, manifest.name), where))
        return found
    parsed = parse_targets(words)
    if all(t.name for t in parsed):
        return [(t, session.namespace if t.resource.namespaced else "") for t in parsed]
    if not selector and not everything:
        raise Terminal("resource(s) were provided, but no name was specified")
    found = []
    for target in parsed:
        where = session.namespace if target.resource.namespaced else ""
        listing = await session.client.list(target.resource, where, label_selector=selector)
        found.extend((Target(target.resource, item["metadata"]["name"]), where) for item in listing.items)
    return found
