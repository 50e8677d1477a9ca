"""`covey delete`: objects by name, by selector, or those of a manifest; waits until they are gone."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Annotated

import typer

from cli import options
from cli.arguments import Target, parse_targets
from cli.creating import DRY_RUNS, check_dry_run
from cli.manifests import read_manifests
from cli.printing import say, warn
from cli.session import Session, run
from cli.waiting import await_gone
from mesh.errors import NotFound, Terminal
from mesh.objects.meta import name_of, namespace_of, uid_of

_POLICIES = {"background": "Background", "foreground": "Foreground", "orphan": "Orphan"}
_AT_ONCE = (
    "Warning: Immediate deletion does not wait for confirmation that the running resource has been terminated. The "
    "resource may continue to run on the cluster indefinitely."
)


@dataclass(frozen=True, slots=True)
class _Asked:
    """What to delete: names, or a manifest's objects, or what these selectors choose."""

    words: list[str]
    files: list[str]
    recursive: bool
    selector: str
    field_selector: str
    everything: bool
    all_namespaces: bool

    @property
    def open(self) -> bool:
        """Whether the objects are not named one by one, so that one that is gone already is no error."""
        return bool(self.selector or self.field_selector or self.everything)


def delete(
    words: options.Words = [],
    namespace: options.Namespace = "",
    all_namespaces: options.AllNamespaces = False,
    files: options.Files = [],
    recursive: options.Recursive = False,
    selector: options.Selector = "",
    field_selector: options.FieldSelector = "",
    everything: Annotated[bool, typer.Option("--all", help="Every object of the type in the namespace.")] = False,
    cascade: Annotated[str, typer.Option("--cascade", help="background, foreground or orphan.")] = "background",
    grace_period: Annotated[
        int, typer.Option("--grace-period", help="Seconds to end in; -1 is the object's own.")
    ] = -1,
    now: Annotated[bool, typer.Option("--now", help="Same as --grace-period=1.")] = False,
    force: Annotated[bool, typer.Option("--force", help="With --grace-period=0: do not wait for the node.")] = False,
    ignore_not_found: options.IgnoreNotFound = False,
    wait: Annotated[bool, typer.Option("--wait/--no-wait", help="Wait until the objects are gone.")] = True,
    timeout: options.Timeout = 0,
    dry_run: options.DryRun = "none",
    output: Annotated[str, typer.Option("--output", "-o", help="name: print TYPE/NAME only.")] = "",
) -> None:
    """Delete objects: covey delete pod web, covey delete -f web.yaml, covey delete pods -l app=web."""
    if cascade not in _POLICIES:
        raise Terminal(f'invalid cascade value ({cascade}). Must be "background", "foreground", or "orphan"')
    if output not in {"", "name"}:
        raise Terminal(f"unexpected -o output mode: {output}. We only support '-o name'")
    check_dry_run(dry_run)
    asked = _Asked(words, files, recursive, selector, field_selector, everything, all_namespaces)
    _check(asked)
    grace = _grace(grace_period, now=now, force=force)
    if grace == 0:
        warn(_AT_ONCE)
    done = "force deleted" if grace == 0 else "deleted"

    async def command(session: Session) -> None:
        targets = await _targets(session, asked)
        if not targets:
            say("No resources found")
        gone = []
        for target, where in targets:
            try:
                uid = await _delete(session, target, where, _POLICIES[cascade], grace, dry_run)
            except NotFound:
                if ignore_not_found or asked.open:
                    continue
                raise
            say(str(target) if output else _sentence(target, done, where) + DRY_RUNS[dry_run])
            gone.append((target, where, uid))
        if wait and dry_run == "none":
            await _await_all(session, gone, timeout)

    run(command, namespace)


def _check(asked: _Asked) -> None:
    """kubectl's refusals of what does not go together."""
    if asked.everything and asked.selector:
        raise Terminal("setting 'all' parameter but found a non empty selector. ")
    if asked.everything and asked.field_selector:
        raise Terminal("setting 'all' parameter but found a non empty field selector. ")
    if asked.files and asked.words:
        raise Terminal(
            "when paths, URLs, or stdin is provided as input, you may not specify resource arguments as well"
        )
    if asked.all_namespaces and not asked.open:
        raise Terminal("a resource cannot be retrieved by name across all namespaces")


def _grace(seconds: int, *, now: bool, force: bool) -> int:
    """The grace period to ask for, -1 for the object's own. Without --force nothing is deleted at once, lest by mistake
    two of a pod run."""
    if now:
        if seconds != -1:
            raise Terminal("--now and --grace-period cannot be specified together")
        return 1
    if force:
        if seconds > 0:
            raise Terminal("--force and --grace-period greater than 0 cannot be specified together")
        return 0
    return 1 if seconds == 0 else seconds


async def _delete(session: Session, target: Target, where: str, propagation: str, grace: int, dry_run: str) -> str:
    """Delete one object, or only look whether it is there; returns its UID."""
    if dry_run == "client":
        return uid_of(await session.client.get(target.resource, target.name, where))
    seconds = None if grace < 0 else grace
    answer = await session.client.delete(
        target.resource, target.name, where, propagation=propagation, grace_period_seconds=seconds,
        dry_run=dry_run == "server",
    )  # fmt: skip
    return str((answer.get("details") or {}).get("uid") or uid_of(answer))


def _sentence(target: Target, done: str, where: str) -> str:
    kind = str(target).rpartition("/")[0]
    return f'{kind} "{target.name}" {done}' + (f" from {where} namespace" if where else "")


async def _await_all(session: Session, gone: list[tuple[Target, str, str]], timeout: float) -> None:
    left = {f"{target.resource.plural}/{target.name}" for target, _, _ in gone}

    async def one(target: Target, where: str, uid: str) -> None:
        await await_gone(session, target.resource, target.name, where, uid)
        left.discard(f"{target.resource.plural}/{target.name}")

    try:
        async with asyncio.timeout(timeout or None):
            await asyncio.gather(*(one(*each) for each in gone))
    except TimeoutError:
        raise Terminal(f"timed out waiting for the condition on {', '.join(sorted(left))}") from None


async def _targets(session: Session, asked: _Asked) -> list[tuple[Target, str]]:
    """What to delete, each with its namespace."""
    if asked.files:
        found = []
        for manifest in read_manifests(asked.files, recursive=asked.recursive):
            where = namespace_of(manifest.object) or session.namespace if manifest.resource.namespaced else ""
            found.append((Target(manifest.resource, manifest.name), where))
        return found
    parsed = parse_targets(asked.words)
    if all(t.name for t in parsed):
        if asked.selector or asked.field_selector:
            raise Terminal("name cannot be provided when a selector is specified")
        return [(t, session.namespace if t.resource.namespaced else "") for t in parsed]
    if not asked.open:
        raise Terminal("resource(s) were provided, but no name was specified")
    found = []
    for target in parsed:
        where = session.namespace if target.resource.namespaced and not asked.all_namespaces else ""
        listing = await session.client.list(
            target.resource, where, label_selector=asked.selector, field_selector=asked.field_selector
        )
        found.extend((Target(target.resource, name_of(item)), namespace_of(item)) for item in listing.items)
    return found
