"""`covey drain`: empty a node of pods, by eviction, so that it can be worked on."""

from __future__ import annotations

import asyncio
from typing import Annotated

import typer

from cli import completion
from cli.printing import say, warn
from cli.session import Session, run
from cli.verbs.change import set_unschedulable
from cli.waiting import await_gone
from mesh.errors import NotFound, Terminal, TooManyRequests
from mesh.objects.kinds import PODS
from mesh.objects.meta import annotations_of, controller_of, key_of, uid_of
from mesh.objects.types import Object

_MIRROR = "kubernetes.io/config.mirror"
_DONE = {"Succeeded", "Failed"}
_RETRY_SECONDS = 5.0


def drain(
    node: Annotated[str, typer.Argument(metavar="NODE", autocompletion=completion.nodes)],
    force: Annotated[bool, typer.Option("--force", help="Also pods that no controller would replace.")] = False,
    ignore_daemonsets: Annotated[bool, typer.Option("--ignore-daemonsets", help="Leave DaemonSets' pods.")] = False,
    delete_local: Annotated[
        bool, typer.Option("--delete-emptydir-data", help="Also pods whose emptyDir volumes will be lost.")
    ] = False,
    grace_period: Annotated[int, typer.Option("--grace-period", help="Seconds to end in; -1 is the pod's own.")] = -1,
    timeout: Annotated[float, typer.Option("--timeout", help="Seconds to wait; 0 is for ever.")] = 0,
) -> None:
    """Cordon a node and evict its pods."""

    async def command(session: Session) -> None:
        await set_unschedulable(session, node, wanted=True)
        listing = await session.client.list(PODS, field_selector=f"spec.nodeName={node}")
        leaving, problems = choose(listing.items, force=force, daemonsets=ignore_daemonsets, local=delete_local)
        if problems:
            raise Terminal(f'unable to drain node "{node}" due to error: ' + ", ".join(problems)
                           + ", continuing command...\nThere are pending nodes to be drained:\n " + node)  # fmt: skip
        try:
            async with asyncio.timeout(timeout or None):
                await asyncio.gather(*(_evict(session, pod, grace_period) for pod in leaving))
        except TimeoutError:
            raise Terminal(f'drain of node "{node}" did not finish in {timeout:g}s') from None
        say(f"node/{node} drained")

    run(command)


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
