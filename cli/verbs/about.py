"""`covey version`, `covey kubeconfig`, `covey events`: about the cluster itself."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version
from typing import Annotated

import orjson
import typer

from cli import options
from cli.arguments import one_target
from cli.listing import TABLE
from cli.printing import say
from cli.session import Session, run
from mesh.api.port import Request
from mesh.config import home
from mesh.errors import Terminal
from mesh.objects.kinds import EVENTS
from mesh.objects.types import Object


def own_version() -> str:
    """Covey's own version."""
    try:
        return version("covey")
    except PackageNotFoundError:
        return "0.1.0"


def show_version(client: Annotated[bool, typer.Option("--client", help="Only this command's own.")] = False) -> None:
    """Show the version of this command and of the cluster."""
    say(f"Client Version: v{own_version()}")
    if client:
        return

    async def command(session: Session) -> None:
        answer = await session.client.request(Request("GET", "/version"))
        say(f"Server Version: {orjson.loads(answer.body)['gitVersion']}")

    run(command)


def kubeconfig(
    path: Annotated[bool, typer.Option("--path", help="Print where the file is instead of what it holds.")] = False,
) -> None:
    """Print the kubeconfig for kubectl, Helm and client libraries: covey kubeconfig > ~/.kube/config."""
    file = home() / "kubeconfig"
    if not file.exists():
        raise Terminal(f"no cluster is known: {file} does not exist. Start one: covey up")
    say(str(file) if path else file.read_text().rstrip("\n"))


def events(
    namespace: options.Namespace = "",
    all_namespaces: options.AllNamespaces = False,
    about: Annotated[str, typer.Option("--for", help="Only about this object: pod/web-1.")] = "",
    types: Annotated[str, typer.Option("--types", help="Only of these types: Warning,Normal.")] = "",
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Go on as events happen.")] = False,
    no_headers: options.NoHeaders = False,
) -> None:
    """Show what happened, oldest first."""
    terms = _types(types)
    if about:
        target = one_target([about])
        terms += [f"involvedObject.kind={target.resource.kind}", f"involvedObject.name={target.name}"]

    async def command(session: Session) -> None:
        from cli.printing import TablePrinter

        where = "" if all_namespaces else session.namespace
        query = (("fieldSelector", ",".join(terms)),) if terms else ()
        answer = await session.client.request(Request("GET", EVENTS.path(where), query, accept=TABLE))
        table: Object = orjson.loads(answer.body)
        table["rows"] = sorted(table.get("rows") or (), key=_happened)
        printer = TablePrinter(wide=False, namespaces=all_namespaces, headers=not no_headers)
        if table["rows"]:
            printer.show(table, EVENTS)
        elif not watch:
            say(f"No events found{f' in {where} namespace' if where else ''}.")
        if watch:
            since = (("watch", "true"), ("resourceVersion", table["metadata"]["resourceVersion"]))
            request = Request("GET", EVENTS.path(where), (*query, *since), accept=TABLE)
            async for event in session.client.watch_raw(request):
                if event.type in {"ADDED", "MODIFIED"}:
                    printer.show(event.object, EVENTS)

    run(command, namespace)


def _types(given: str) -> list[str]:
    """The field selector's terms for types of events. Both types are all events."""
    wanted = {word.strip().capitalize() for word in given.split(",")} if given else set()
    if not wanted <= {"Normal", "Warning"}:
        raise Terminal("valid --types are Normal or Warning")
    return [f"type={word}" for word in wanted] if len(wanted) == 1 else []


def _happened(row: Object) -> str:
    """The revision orders events of one cluster by when they were last written."""
    return str((row.get("object") or {}).get("metadata", {}).get("resourceVersion", "")).rjust(20, "0")
