"""`covey get`: objects as tables made by the server, as JSON or YAML, or as names; once, or followed with --watch."""

from __future__ import annotations

from typing import Annotated

import orjson
import typer

from cli import options
from cli.arguments import Target, parse_targets
from cli.manifests import read_manifests
from cli.printing import TablePrinter, check_format, print_objects, warn
from cli.session import Session, run
from mesh.api.port import JSON, Request
from mesh.errors import Terminal
from mesh.objects.types import Object

TABLE = f"{JSON};as=Table;v=v1;g=meta.k8s.io,{JSON}"


def get(
    words: options.Words = [],
    namespace: options.Namespace = "",
    all_namespaces: options.AllNamespaces = False,
    selector: options.Selector = "",
    field_selector: options.FieldSelector = "",
    files: options.Files = [],
    output: options.Output = "",
    watch: Annotated[bool, typer.Option("--watch", "-w", help="List, then print every change.")] = False,
    show_labels: Annotated[bool, typer.Option("--show-labels", help="A last column with all labels.")] = False,
    no_headers: Annotated[bool, typer.Option("--no-headers", help="Leave out the line of column names.")] = False,
) -> None:
    """Show objects: covey get pods, covey get deploy/web -o yaml, covey get all -A."""
    check_format(output)
    targets = [Target(m.resource, m.name) for m in read_manifests(files)] if files else parse_targets(words)
    if all_namespaces and any(t.name for t in targets):
        raise Terminal("a resource cannot be retrieved by name across all namespaces")
    if watch and len(targets) > 1:
        raise Terminal("you may only specify a single resource type when watching")

    async def command(session: Session) -> None:
        where = "" if all_namespaces else session.namespace
        query = tuple(p for p in (("labelSelector", selector), ("fieldSelector", field_selector)) if p[1])
        if output in {"", "wide"}:
            printer = _Tables(session, where, query, wide=output == "wide", many=len(targets) > 1,
                              labels=show_labels, headers=not no_headers)  # fmt: skip
            await printer.show(targets)
            if watch:
                await printer.follow(targets[0])
        else:
            await _print_machine_readable(session, targets, where, query, output)

    run(command, namespace)


class _Tables:
    """Fetches tables and prints them, one block for each resource."""

    def __init__(self, session: Session, namespace: str, query: tuple[tuple[str, str], ...], *, wide: bool, many: bool,
                 labels: bool, headers: bool) -> None:  # fmt: skip
        self._session, self._namespace, self._query = session, namespace, query
        self._wide, self._many, self._labels, self._headers = wide, many, labels, headers
        self._printer: TablePrinter | None = None
        self._revision = ""

    async def show(self, targets: list[Target]) -> None:
        """Print all of them; says so when there is nothing."""
        shown = 0
        last: Target | None = None
        for target in targets:
            table = await self._fetch(target)
            self._revision = (table.get("metadata") or {}).get("resourceVersion", "")
            if not table.get("rows"):
                continue
            if last is None or last.resource != target.resource:
                if shown and self._headers:
                    print()  # noqa: T201
                self._printer = self._new_printer()
            assert self._printer is not None
            self._printer.show(table, target.resource, headers=self._headers)
            shown += 1
            last = target
        if not shown:
            place = f" in {self._namespace} namespace" if self._namespace else ""
            warn(
                f"No resources found{place if any(t.resource.namespaced for t in targets) else ''}.".replace("..", ".")
            )

    async def follow(self, target: Target) -> None:
        """Print every change until interrupted."""
        printer = self._printer or self._new_printer()
        query = (*self._query, ("watch", "true"), ("resourceVersion", self._revision))
        if target.name:
            query += (("fieldSelector", f"metadata.name={target.name}"),)
        request = Request("GET", target.resource.path(self._namespace), query, accept=TABLE)
        async for event in self._session.client.watch_raw(request):
            printer.show(event.object, target.resource, headers=self._headers)

    def _new_printer(self) -> TablePrinter:
        return TablePrinter(wide=self._wide, namespaces=not self._namespace, prefix=self._many, labels=self._labels)

    async def _fetch(self, target: Target) -> Object:
        path = target.resource.path(self._namespace, target.name)
        query = self._query if not target.name else ()
        answer = await self._session.client.request(Request("GET", path, query, accept=TABLE))
        table: Object = orjson.loads(answer.body)
        return table


async def _print_machine_readable(
    session: Session, targets: list[Target], namespace: str, query: tuple[tuple[str, str], ...], output: str
) -> None:
    selectors = dict(query)
    objects: list[Object] = []
    resources = []
    for target in targets:
        if target.name:
            found = [await session.client.get(target.resource, target.name, namespace)]
        else:
            listing = await session.client.list(
                target.resource,
                namespace,
                label_selector=selectors.get("labelSelector", ""),
                field_selector=selectors.get("fieldSelector", ""),
            )
            found = listing.items
        objects.extend(found)
        resources.extend([target.resource] * len(found))
    print_objects(objects, output, resources, single=len(targets) == 1 and bool(targets[0].name))
