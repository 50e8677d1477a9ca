"""`covey rollout`: status, history, undo, restart, pause and resume of a Deployment, as kubectl does it.

Revisions are ReplicaSets that the Deployment owns, numbered by the annotation `deployment.kubernetes.io/revision`.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator
from datetime import UTC, datetime
from typing import Annotated

import typer

from cli import completion, options
from cli.arguments import Target, one_target
from cli.flags import Command
from cli.printing import print_rows, say
from cli.session import Session, run
from mesh.errors import Terminal, Unavailable
from mesh.objects.kinds import DEPLOYMENTS, REPLICASETS
from mesh.objects.labels import from_object
from mesh.objects.meta import annotations_of, controller_of, format_time, name_of, thaw, uid_of
from mesh.objects.types import Object

REVISION = "deployment.kubernetes.io/revision"
CAUSE = "kubernetes.io/change-cause"
RESTARTED = "kubectl.kubernetes.io/restartedAt"
HASH = "pod-template-hash"

app = typer.Typer(no_args_is_help=True, help="Follow and steer the rollout of a Deployment.")
app.callback()(options.before_the_verb)
One = Annotated[list[str], typer.Argument(metavar="deployment/NAME", autocompletion=completion.deployments)]


@app.command(cls=Command)
def status(
    words: One,
    namespace: options.Namespace = "",
    watch: Annotated[bool, typer.Option("--watch/--no-watch", help="Wait until the rollout is over.")] = True,
    timeout: options.Timeout = 0,
) -> None:
    """Wait for a rollout to finish, saying how far it is."""

    async def command(session: Session) -> None:
        target = _deployment(words)
        try:
            async with asyncio.timeout(timeout or None):
                await follow(session, target, watch=watch)
        except TimeoutError:
            raise Terminal("timed out waiting for the condition") from None

    run(command, namespace)


async def follow(session: Session, target: Target, *, watch: bool = True) -> None:
    """Print a rollout's progress until it is over; `Terminal` when it has failed."""
    said = ""
    async with contextlib.aclosing(sentences(session, target)) as progressing:
        async for sentence in progressing:
            if sentence != said:
                say(sentence)
            said = sentence
            if not watch:
                return


async def sentences(session: Session, target: Target) -> AsyncGenerator[str, None]:
    """What `progress` says, now and at every change, until the rollout is over; `Terminal` when it has failed."""
    by_name = f"metadata.name={target.name}"
    while True:
        listing = await session.client.list(target.resource, session.namespace, field_selector=by_name)
        found = listing.items or [await session.client.get(target.resource, target.name, session.namespace)]
        sentence, done = progress(found[0])
        yield sentence
        if done:
            return
        with contextlib.suppress(Unavailable):  # the broker or the server was away: look again
            async for event in session.client.watch(
                target.resource, session.namespace, resource_version=listing.resource_version, field_selector=by_name
            ):
                if event.type == "DELETED":
                    raise Terminal(f"{target} was deleted")
                if event.type in {"ADDED", "MODIFIED"}:
                    sentence, done = progress(event.object)
                    yield sentence
                    if done:
                        return


def progress(deployment: Object) -> tuple[str, bool]:
    """kubectl's sentence about a Deployment's rollout, and whether it is over. `Terminal` past its deadline."""
    name, spec, now = name_of(deployment), deployment["spec"], deployment.get("status") or {}
    if deployment["metadata"].get("generation", 0) > now.get("observedGeneration", 0):
        return "Waiting for deployment spec update to be observed...", False
    for condition in now.get("conditions") or ():
        if condition["type"] == "Progressing" and condition.get("reason") == "ProgressDeadlineExceeded":
            raise Terminal(f'deployment "{name}" exceeded its progress deadline')
    wanted, updated = spec.get("replicas", 1), now.get("updatedReplicas", 0)
    total, available = now.get("replicas", 0), now.get("availableReplicas", 0)
    waiting = f'Waiting for deployment "{name}" rollout to finish: '
    if updated < wanted:
        return f"{waiting}{updated} out of {wanted} new replicas have been updated...", False
    if total > updated:
        return f"{waiting}{total - updated} old replicas are pending termination...", False
    if available < updated:
        return f"{waiting}{available} of {updated} updated replicas are available...", False
    return f'deployment "{name}" successfully rolled out', True


@app.command(cls=Command)
def history(
    words: One,
    namespace: options.Namespace = "",
    revision: Annotated[int, typer.Option("--revision", help="Show this revision's pod template.")] = 0,
) -> None:
    """List the revisions of a Deployment."""

    async def command(session: Session) -> None:
        target = _deployment(words)
        revisions = await _revisions(session, await _get(session, target))
        if revision:
            _show_template(target, revision, _pick(revisions, revision))
            return
        say(f"{target} ")
        rows = [("REVISION", "CHANGE-CAUSE")]
        rows += [(str(n), annotations_of(rs).get(CAUSE) or "<none>") for n, rs in sorted(revisions.items())]
        print_rows(rows)

    run(command, namespace)


@app.command(cls=Command)
def undo(
    words: One,
    namespace: options.Namespace = "",
    to_revision: Annotated[int, typer.Option("--to-revision", help="The revision to return to; 0 is the last.")] = 0,
) -> None:
    """Return to an earlier revision."""

    async def command(session: Session) -> None:
        target = _deployment(words)
        deployment = await _get(session, target)
        if deployment["spec"].get("paused"):
            raise Terminal("you cannot rollback a paused deployment; resume it first with "
                           f"'covey rollout resume {target}' and try again")  # fmt: skip
        revisions = await _revisions(session, deployment)
        chosen = to_revision
        if not chosen:
            earlier = sorted(revisions)[:-1]
            if not earlier:
                raise Terminal("no rollout history found for deployment " + repr(target.name))
            chosen = earlier[-1]
        template = _template(_pick(revisions, chosen))
        if template == deployment["spec"]["template"]:
            say(f"{target} skipped rollback (current template already matches revision {chosen})")
            return
        rolled: Object = thaw(deployment)
        rolled["spec"]["template"] = template
        await session.client.update(DEPLOYMENTS, rolled)
        say(f"{target} rolled back")

    run(command, namespace)


@app.command(cls=Command)
def restart(words: One, namespace: options.Namespace = "") -> None:
    """Replace all pods, one after the other, by new ones."""

    async def command(session: Session) -> None:
        target = _deployment(words)
        deployment = await _get(session, target)
        if deployment["spec"].get("paused"):
            raise Terminal("can't restart paused deployment (run rollout resume first)")
        annotation = {RESTARTED: format_time(datetime.now(UTC))}
        patch = {"spec": {"template": {"metadata": {"annotations": annotation}}}}
        await session.client.patch(DEPLOYMENTS, target.name, session.namespace, patch)
        say(f"{target} restarted")

    run(command, namespace)


@app.command(cls=Command)
def pause(words: One, namespace: options.Namespace = "") -> None:
    """Hold a rollout where it is."""
    _set_paused(words, namespace, True)


@app.command(cls=Command)
def resume(words: One, namespace: options.Namespace = "") -> None:
    """Go on with a paused rollout."""
    _set_paused(words, namespace, False)


def _set_paused(words: list[str], namespace: str, wanted: bool) -> None:
    async def command(session: Session) -> None:
        target = _deployment(words)
        if bool((await _get(session, target))["spec"].get("paused")) == wanted:
            raise Terminal(f'deployments.apps "{target.name}" is {"already" if wanted else "not"} paused')
        await session.client.patch(DEPLOYMENTS, target.name, session.namespace, {"spec": {"paused": wanted or None}})
        say(f"{target} {'paused' if wanted else 'resumed'}")

    run(command, namespace)


def _deployment(words: list[str]) -> Target:
    target = one_target(words, default="deployments")
    if target.resource != DEPLOYMENTS:
        raise Terminal(f"no rollouts for {target.resource.plural}: only deployments have them")
    return target


async def _get(session: Session, target: Target) -> Object:
    return await session.client.get(target.resource, target.name, session.namespace)


async def _revisions(session: Session, deployment: Object) -> dict[int, Object]:
    """The Deployment's ReplicaSets by revision."""
    selector = str(from_object(deployment["spec"]["selector"]))
    sets = (await session.client.list(REPLICASETS, session.namespace, label_selector=selector)).items
    uid = uid_of(deployment)
    owned = [rs for rs in sets if (controller_of(rs) or {}).get("uid") == uid]
    return {int(annotations_of(rs).get(REVISION, 0)): rs for rs in owned}


def _pick(revisions: dict[int, Object], revision: int) -> Object:
    if revision not in revisions:
        raise Terminal(f"unable to find specified revision {revision} in history")
    return revisions[revision]


def _template(replica_set: Object) -> Object:
    """A revision's pod template as the Deployment had it: without the hash that tells revisions apart."""
    template: Object = thaw(replica_set["spec"]["template"])
    template["metadata"]["labels"].pop(HASH, None)
    return template


def _show_template(target: Target, revision: int, replica_set: Object) -> None:
    from cli.printing import to_yaml

    say(f"{target} with revision #{revision}")
    say("Pod Template:")
    for line in to_yaml(replica_set["spec"]["template"]).splitlines():
        say(f"  {line}")
