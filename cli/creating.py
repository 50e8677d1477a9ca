"""What the verbs that make objects share: the object as a manifest, the request, and what is said about it."""

from __future__ import annotations

from cli.arguments import Target
from cli.manifests import Manifest
from cli.printing import print_objects, say
from cli.session import Session
from mesh.errors import Terminal
from mesh.objects.kinds import Resource
from mesh.objects.types import Json, Object

DRY_RUNS = {"none": "", "client": " (dry run)", "server": " (server dry run)"}
"""The values of --dry-run, and what is said after what was done."""


def check_dry_run(dry_run: str) -> None:
    """`Terminal` for a value that --dry-run does not have."""
    if dry_run not in DRY_RUNS:
        raise Terminal(f'Invalid dry-run value ({dry_run}). Must be "none", "server", or "client".')


def manifest(resource: Resource, name: str, *, labels: dict[str, str] | None = None, **fields: Json) -> Manifest:
    """An object of this name with these fields, as if it had been read from a file."""
    meta: Object = {"name": name} | ({"labels": labels} if labels else {})
    obj: Object = {"apiVersion": resource.api_version, "kind": resource.kind, "metadata": meta, **fields}
    return Manifest(obj, resource, "create")


class Creator:
    """Creates objects in one session, and says so or prints them."""

    def __init__(self, session: Session, dry_run: str, output: str) -> None:
        self._session = session
        self._dry_run = dry_run
        self._output = output
        self._printed = 0

    async def create(self, manifest: Manifest, *, quiet: bool = False) -> Object:
        """Create an object, in the session's namespace unless it names one; returns it as it was made."""
        obj, resource = manifest.object, manifest.resource
        if resource.namespaced:
            obj["metadata"].setdefault("namespace", self._session.namespace)
        made = obj
        if self._dry_run != "client":
            made = await self._session.client.create(resource, obj, dry_run=self._dry_run == "server", strict=True)
        if self._output:
            if self._printed and self._output == "yaml":
                say("---")
            print_objects([made], self._output, [resource], single=True, headers=not self._printed)
            self._printed += 1
        elif not quiet:
            say(f"{Target(resource, made['metadata']['name'])} created{DRY_RUNS[self._dry_run]}")
        return made


def pair(text: str) -> tuple[str, str]:
    """`NAME=VALUE`."""
    key, equals, value = text.partition("=")
    if not equals or not key:
        raise Terminal(f"{text!r}: expected NAME=VALUE")
    return key, value
