"""`covey describe`: everything about an object that helps to understand it, its events included."""

from __future__ import annotations

import sys
from datetime import UTC, datetime

from cli import options
from cli.arguments import Target, parse_targets
from cli.describe.kinds import Related, describe
from cli.printing import warn
from cli.session import Session, run
from mesh.errors import NotFound
from mesh.objects.kinds import DEPLOYMENTS, ENDPOINTSLICES, EVENTS, NODES, PODS, REPLICASETS, SERVICES
from mesh.objects.labels import from_object
from mesh.objects.meta import controller_of, name_of, namespace_of, uid_of
from mesh.objects.types import Object


def describe_verb(
    words: options.Words,
    namespace: options.Namespace = "",
    all_namespaces: options.AllNamespaces = False,
    selector: options.Selector = "",
) -> None:
    """Describe objects: covey describe pod web-1, covey describe nodes."""
    targets = parse_targets(words)

    async def command(session: Session) -> None:
        where = "" if all_namespaces else session.namespace
        shown = 0
        for target in targets:
            for obj in await _objects(session, target, where, selector):
                if shown:
                    sys.stdout.write("\n\n")
                related = await _related(session, target, obj)
                sys.stdout.write(describe(target.resource, obj, related, datetime.now(UTC)))
                shown += 1
        if not shown:
            warn(f"No resources found{f' in {where} namespace' if where else ''}.")

    run(command, namespace)


async def _objects(session: Session, target: Target, where: str, selector: str) -> list[Object]:
    """The named object, or those whose name begins so, as kubectl does; or all that are selected."""
    if not target.name:
        return (await session.client.list(target.resource, where, label_selector=selector)).items
    try:
        return [await session.client.get(target.resource, target.name, where)]
    except NotFound:
        listing = await session.client.list(target.resource, where)
        found = [o for o in listing.items if name_of(o).startswith(target.name)]
        if not found:
            raise
        return found


async def _related(session: Session, target: Target, obj: Object) -> Related:
    client, where, uid = session.client, namespace_of(obj), uid_of(obj)
    about = f"involvedObject.name={name_of(obj)},involvedObject.kind={target.resource.kind}"
    if target.resource == NODES:  # the agent writes events about its node with the node's name as UID
        events = (await client.list(EVENTS, field_selector=about)).items
        pods = (await client.list(PODS, field_selector=f"spec.nodeName={name_of(obj)}")).items
        return Related(events, pods=pods)
    events = (await client.list(EVENTS, where, field_selector=about)).items
    if target.resource == SERVICES:
        selector = f"kubernetes.io/service-name={name_of(obj)}"
        return Related(events, slices=(await client.list(ENDPOINTSLICES, where, label_selector=selector)).items)
    if target.resource in (DEPLOYMENTS, REPLICASETS):
        below = REPLICASETS if target.resource == DEPLOYMENTS else PODS
        selected = (await client.list(below, where, label_selector=str(from_object(obj["spec"]["selector"])))).items
        owned = [o for o in selected if (controller_of(o) or {}).get("uid") == uid]
        return Related(events, replica_sets=owned) if below == REPLICASETS else Related(events, pods=owned)
    return Related(events)
