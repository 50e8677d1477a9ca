"""`covey get`: objects as tables made by the server, as JSON or YAML, as names, or by a template; once, or followed with
--watch."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from cli import options
from cli.arguments import Target, parse_targets
from cli.jsonpath_parser import parse_relaxed
from cli.listing import TABLE, Asked, Listing
from cli.manifests import Manifest, read_manifests
from cli.printing import TablePrinter, check_format, print_objects, say, warn
from cli.session import Session, run
from mesh.api.port import JSON
from mesh.errors import Terminal
from mesh.objects.kinds import Resource
from mesh.objects.meta import namespace_of
from mesh.objects.types import Object


def get(
    words: options.Words = [],
    namespace: options.Namespace = "",
    all_namespaces: options.AllNamespaces = False,
    selector: options.Selector = "",
    field_selector: options.FieldSelector = "",
    files: options.Files = [],
    output: options.Output = "",
    watch: Annotated[bool, typer.Option("--watch", "-w", help="List, then print every change.")] = False,
    watch_only: Annotated[bool, typer.Option("--watch-only", help="Print every change, without listing.")] = False,
    show_labels: Annotated[bool, typer.Option("--show-labels", help="A last column with all labels.")] = False,
    label_columns: Annotated[
        list[str], typer.Option("--label-columns", "-L", help="A column for each of these labels: app,tier.")
    ] = [],
    sort_by: Annotated[str, typer.Option("--sort-by", help="Order by a field: .metadata.creationTimestamp.")] = "",
    show_kind: Annotated[bool, typer.Option("--show-kind", help="TYPE/NAME instead of names.")] = False,
    ignore_not_found: options.IgnoreNotFound = False,
    no_headers: options.NoHeaders = False,
) -> None:
    """Show objects: covey get pods, covey get deploy/web -o yaml, covey get all -A."""
    check_format(output)
    targets = [_target(m, namespace) for m in read_manifests(files)] if files else parse_targets(words)
    if all_namespaces and any(t.name for t in targets):
        raise Terminal("a resource cannot be retrieved by name across all namespaces")
    if (watch or watch_only) and len(targets) > 1:
        raise Terminal("you may only specify a single resource type when watching")
    asked = Asked(targets, selector, field_selector, parse_relaxed(sort_by) if sort_by else (), ignore_not_found)

    async def command(session: Session) -> None:
        listing = Listing(session, asked, "" if all_namespaces else session.namespace)
        if output in {"", "wide"}:
            printer = TablePrinter(
                wide=output == "wide", namespaces=all_namespaces, prefix=show_kind or listing.mixed, labels=show_labels,
                label_columns=[name for text in label_columns for name in text.split(",")], headers=not no_headers,
            )  # fmt: skip
            await _tables(listing, printer, first=not watch_only, watch=watch or watch_only)
        elif watch or watch_only:
            await _changes(listing, output, first=not watch_only, headers=not no_headers)
        else:
            await _all(listing, output, headers=not no_headers)

    run(command, namespace)


def _target(manifest: Manifest, namespace: str) -> Target:
    """The object that a manifest means; in words like kubectl's, why it cannot be one in `namespace` ("": in any)."""
    where = namespace_of(manifest.object)
    if namespace and where and where != namespace:
        raise Terminal(f'the namespace from the provided object "{where}" does not match the namespace "{namespace}". You '
                       f"must pass '--namespace={where}' to perform this operation.")  # fmt: skip
    if not manifest.name:
        raise Terminal(f"{manifest.source}: resource name may not be empty")
    return Target(manifest.resource, manifest.name, where)


async def _tables(listing: Listing, printer: TablePrinter, *, first: bool, watch: bool) -> None:
    """Print tables, one block for each resource, and then every change."""
    shown = None
    async for resource, table in listing.tables():
        if not first or not table.get("rows"):
            continue
        if shown not in {None, resource}:
            printer.begin_anew()
        printer.show(table, resource)
        shown = resource
    listing.raise_absent()
    if watch:
        async for resource, table in listing.changes(TABLE):
            printer.show(table, resource)
    elif shown is None and listing.is_open:
        where = listing.namespace if listing.namespaced else ""
        warn(f"No resources found in {where} namespace." if where else "No resources found")


async def _all(listing: Listing, output: str, *, headers: bool) -> None:
    """Print objects in a machine-readable form."""
    found = [each async for each in listing.objects()]
    if found or not listing.single:
        resources = [resource for resource, _ in found]
        print_objects([obj for _, obj in found], output, resources, single=listing.single, headers=headers)
    listing.raise_absent()


async def _changes(listing: Listing, output: str, *, first: bool, headers: bool) -> None:
    """Print objects one by one in a machine-readable form, and then every change."""
    printed = 0

    def show(resource: Resource, obj: Object) -> None:
        nonlocal printed
        if printed and output == "yaml":
            say("---")
        print_objects([obj], output, [resource], single=True, headers=headers and not printed)
        sys.stdout.flush()
        printed += 1

    async for resource, obj in listing.objects():
        if first:
            show(resource, obj)
    listing.raise_absent()
    async for resource, obj in listing.changes(JSON):
        show(resource, obj)
