"""`covey drain`: empty nodes of pods, by eviction, so that they can be worked on."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Annotated

import typer

from cli import completion, options
from cli.creating import DRY_RUNS, check_dry_run
from cli.durations import format_duration
from cli.printing import say, warn
from cli.session import Session, run
from cli.verbs.change import set_unschedulable
from cli.waiting import await_gone
from mesh.errors import NotFound, Terminal, TooManyRequests
from mesh.objects.kinds import NODES, PODS
from mesh.objects.meta import annotations_of, controller_of, key_of, name_of, uid_of
from mesh.objects.types import Object

_MIRROR = "kubernetes.io/config.mirror"
_DONE = {"Succeeded", "Failed"}
_RETRY_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class _Manner:
    """Which pods may go, and how."""

    force: bool
    daemonsets: bool
    local: bool
    grace: int
    timeout: float
    selector: str


def drain(
    nodes: Annotated[list[str], typer.Argument(metavar="[NODE...]", autocompletion=completion.nodes)] = [],
    selector: options.Selector = "",
    pod_selector: Annotated[str, typer.Option("--pod-selector", help="Evict only pods with these labels.")] = "",
    force: Annotated[bool, typer.Option("--force", help="Also pods that no controller would replace.")] = False,
    ignore_daemonsets: Annotated[bool, typer.Option("--ignore-daemonsets", help="Leave DaemonSets' pods.")] = False,
    delete_local: Annotated[
        bool, typer.Option("--delete-emptydir-data", help="Also pods whose emptyDir volumes will be lost.")
    ] = False,
    grace_period: Annotated[int, typer.Option("--grace-period", help="Seconds to end in; -1 is the pod's own.")] = -1,
    timeout: options.Timeout = 0,
    dry_run: options.DryRun = "none",
) -> None:
    """Cordon nodes and evict their pods: covey drain node-1 node-2, covey drain -l rack=a."""
    if bool(nodes) == bool(selector):
        raise Terminal("USAGE: drain NODE [flags]; name nodes, or choose them with --selector")
    check_dry_run(dry_run)
    manner = _Manner(force, ignore_daemonsets, delete_local, grace_period, timeout, pod_selector)

    async def command(session: Session) -> None:
        names = nodes or [name_of(n) for n in (await session.client.list(NODES, label_selector=selector)).items]
        if not names:
            say("No resources found")
        for name in names:
            await set_unschedulable(session, name, wanted=True, dry_run=dry_run)
        failed: dict[str, str] = {}
        for name in names:
            try:
                await _empty(session, name, manner, dry_run)
            except Terminal as error:
                failed[name] = str(error)
                warn(f'error: unable to drain node "{name}" due to error: {error}, continuing command...')
            else:
                say(f"node/{name} drained{DRY_RUNS[dry_run]}")
        if failed:
            say("There are pending nodes to be drained:\n" + "\n".join(f" {name}" for name in failed))
            raise Terminal("\n".join(failed.values()))

    run(command)


async def _empty(session: Session, node: str, manner: _Manner, dry_run: str) -> None:
    """Evict the node's pods; `Terminal` when some may not go, or are not gone in time."""
    listing = await session.client.list(PODS, field_selector=f"spec.nodeName={node}", label_selector=manner.selector)
    leaving, problems = choose(listing.items, force=manner.force, daemonsets=manner.daemonsets, local=manner.local)
    if problems:
        raise Terminal(", ".join(problems))
    if dry_run != "none":
        for pod in leaving:
            say(f"evicting pod {key_of(pod)}{DRY_RUNS[dry_run]}")
        return
    try:
        async with asyncio.timeout(manner.timeout or None):
            await asyncio.gather(*(_evict(session, pod, manner.grace) for pod in leaving))
    except TimeoutError:
        raise Terminal(f"global timeout reached: {format_duration(manner.timeout)}") from None


def choose(pods: list[Object], *, force: bool, daemonsets: bool, local: bool) -> tuple[list[Object], list[str]]:
    """The pods to evict, and kubectl's sentence for each kind of pod that stands in the way."""
    leaving: list[Object] = []
    obstacles: dict[str, list[str]] = {}
    for pod in pods:
        if _MIRROR in annotations_of(pod):
            continue
        name, owner = str(key_of(pod)), controller_of(pod)
        done = (pod.get("status") or {}).get("phase") in _DONE
        if owner and owner["kind"] == "DaemonSet" and not done:
            if not daemonsets:
                obstacles.setdefault(
                    "cannot delete DaemonSet-managed Pods (use --ignore-daemonsets to ignore)", []
                ).append(name)
            continue
        if owner is None and not done and not force:
            text = "cannot delete Pods that declare no controller (use --force to override)"
            obstacles.setdefault(text, []).append(name)
        elif not done and not local and any("emptyDir" in v for v in pod["spec"].get("volumes") or ()):
            text = "cannot delete Pods with local storage (use --delete-emptydir-data to override)"
            obstacles.setdefault(text, []).append(name)
        leaving.append(pod)
    return leaving, [f"{text}: {', '.join(names)}" for text, names in obstacles.items()]


async def _evict(session: Session, pod: Object, grace: int) -> None:
    """Evict one pod, as often as a disruption budget asks to wait, and wait until it is gone."""
    key, uid = key_of(pod), uid_of(pod)
    say(f"evicting pod {key}")
    while True:
        try:
            await session.client.evict(key.namespace, key.name, grace_period_seconds=None if grace < 0 else grace)
            break
        except NotFound:
            return
        except TooManyRequests as error:
            warn(f'error when evicting pods/"{key.name}" -n "{key.namespace}" (will retry after 5s): {error}')
            await asyncio.sleep(_RETRY_SECONDS)
    await await_gone(session, PODS, key.name, key.namespace, uid)
    say(f"pod/{key.name} evicted")
