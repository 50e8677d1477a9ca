"""Waiting until an object is gone."""

from __future__ import annotations

import asyncio
from contextlib import suppress

from cli.session import Session
from mesh.errors import Gone, Unavailable
from mesh.objects.kinds import Resource
from mesh.objects.meta import uid_of

_AGAIN_SECONDS = 0.5


async def await_gone(session: Session, resource: Resource, name: str, namespace: str, uid: str) -> None:
    """Return once the object with this UID ("": with any) no longer exists, also over times without a server."""
    by_name = f"metadata.name={name}"
    while True:
        with suppress(Unavailable, Gone):
            listing = await session.client.list(resource, namespace, field_selector=by_name)
            if not any(not uid or uid_of(item) == uid for item in listing.items):
                return
            async for event in session.client.watch(
                resource, namespace, resource_version=listing.resource_version, field_selector=by_name
            ):
                if event.type == "DELETED" and (not uid or uid_of(event.object) == uid):
                    return
        await asyncio.sleep(_AGAIN_SECONDS)
