"""Waiting for an object to become something, or to be gone."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress

from cli.printing import warn
from cli.session import Session
from mesh.errors import Gone, NotFound, Unavailable
from mesh.objects.kinds import Resource
from mesh.objects.meta import uid_of
from mesh.objects.types import Object

_AGAIN_SECONDS = 0.5
_FAILURES_TOLD = 3
"""So many failures in a row are more than one server's handing over to the next."""


async def await_gone(session: Session, resource: Resource, name: str, namespace: str, uid: str) -> None:
    """Return once the object with this UID ("": with any) no longer exists, also over times without a server."""
    with suppress(NotFound):
        await await_object(session, resource, name, namespace, lambda found: bool(uid) and uid_of(found) != uid)


async def await_object(
    session: Session, resource: Resource, name: str, namespace: str, wanted: Callable[[Object], bool]
) -> Object:
    """The object once it is as wanted, also over times without a server, of which the user is told; `NotFound` when it is
    not there or no more."""
    by_name = f"metadata.name={name}"
    absent = NotFound(f'{resource.qualified} "{name}" not found', name=name, group=resource.group, kind=resource.plural)
    failures = 0
    while True:
        try:
            listing = await session.client.list(resource, namespace, field_selector=by_name)
            failures = 0
            if not listing.items:
                raise absent
            if wanted(listing.items[0]):
                return listing.items[0]
            async for event in session.client.watch(
                resource, namespace, resource_version=listing.resource_version, field_selector=by_name
            ):
                if event.type == "DELETED":
                    raise absent
                if event.type in {"ADDED", "MODIFIED"} and wanted(event.object):
                    return event.object
        except Gone:
            failures = 0  # a server answers: what came meanwhile is to be listed
        except Unavailable as error:
            failures += 1
            if failures >= _FAILURES_TOLD and not session.told_to_wait.is_set():
                session.told_to_wait.set()
                warn(f"Warning: {error}; waiting for a server that answers")
        await asyncio.sleep(_AGAIN_SECONDS)
