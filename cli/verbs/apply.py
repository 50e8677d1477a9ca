"""`covey apply`: make objects be as manifests say, whether they exist or not."""

from __future__ import annotations

from cli import options
from cli.arguments import Target
from cli.creating import DRY_RUNS, check_dry_run
from cli.manifests import Manifest, read_manifests
from cli.printing import check_format, print_objects, say, warn
from cli.session import Session, run
from cli.three_way import LAST_APPLIED, last_applied, merge, with_last_applied
from mesh.errors import Conflict, NotFound, Terminal
from mesh.objects.types import Object

_ATTEMPTS = 5
"""How often a merge is made anew because the object changed meanwhile."""


def apply(
    files: options.Files,
    namespace: options.Namespace = "",
    recursive: options.Recursive = False,
    dry_run: options.DryRun = "none",
    output: options.Output = "",
) -> None:
    """Apply manifests: covey apply -f web.yaml, covey apply -f folder/, cat web.yaml | covey apply -f -."""
    check_format(output)
    check_dry_run(dry_run)
    manifests = read_manifests(files, recursive=recursive)

    async def command(session: Session) -> None:
        for manifest in manifests:
            if not manifest.name:
                raise Terminal(
                    f"{manifest.source}: error: metadata.name is needed to apply; use create for generateName"
                )
            result, done = await apply_one(session, manifest, dry_run)
            if output:
                print_objects([result], output, [manifest.resource], single=True)
            else:
                say(f"{Target(manifest.resource, manifest.name)} {done}{DRY_RUNS[dry_run]}")

    run(command, namespace)


async def apply_one(session: Session, manifest: Manifest, dry_run: str = "none") -> tuple[Object, str]:
    """Create or merge one object; returns it with "created", "configured" or "unchanged"."""
    resource = manifest.resource
    if resource.namespaced:
        manifest.object["metadata"].setdefault("namespace", session.namespace)
    new = with_last_applied(manifest.object)
    where = new["metadata"].get("namespace", "")
    for attempt in range(_ATTEMPTS):
        try:
            live = await session.client.get(resource, manifest.name, where)
        except NotFound:
            if dry_run == "client":
                return new, "created"
            return await session.client.create(resource, new, dry_run=dry_run == "server", strict=True), "created"
        before = _last_applied(manifest, live)
        if before is None:
            warn(
                f"Warning: resource {resource.plural}/{manifest.name} is missing the annotation that apply keeps; "
                "it will be added"
            )
        merged = merge(before or {}, new, live)
        if merged == live:
            return live, "unchanged"
        if dry_run == "client":
            return merged, "configured"
        try:
            updated = await session.client.update(resource, merged, dry_run=dry_run == "server", strict=True)
        except Conflict:
            if attempt == _ATTEMPTS - 1:
                raise
            continue
        return updated, "unchanged" if _version(updated) == _version(live) else "configured"
    raise AssertionError("unreachable: the last attempt returns or raises")


def _last_applied(manifest: Manifest, live: Object) -> Object | None:
    try:
        return last_applied(live)
    except ValueError as error:
        target = f"{manifest.resource.singular} {manifest.name}"
        raise Terminal(
            f'error when creating patch for "{manifest.source}": the annotation {LAST_APPLIED} of {target} is not what '
            f"apply wrote: {error}\n  remove it, and apply again: covey annotate {target} {LAST_APPLIED}-"
        ) from error


def _version(obj: Object) -> str:
    return str(obj["metadata"].get("resourceVersion", ""))
