"""Options that many verbs share, declared once, in kubectl's names."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, TypeAlias

import typer

from cli import completion
from cli.durations import parse_duration


def duration(text: str) -> float:
    """Seconds of an option like --timeout 1m30s."""
    try:
        return parse_duration(str(text))
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None


Namespace: TypeAlias = Annotated[
    str, typer.Option("--namespace", "-n", help="Namespace to use.", autocompletion=completion.namespaces)
]
AllNamespaces: TypeAlias = Annotated[bool, typer.Option("--all-namespaces", "-A", help="Look in every namespace.")]
Selector: TypeAlias = Annotated[str, typer.Option("--selector", "-l", help="Label selector: app=web,tier!=db.")]
FieldSelector: TypeAlias = Annotated[
    str, typer.Option("--field-selector", help="Field selector: status.phase=Running.")
]
Files: TypeAlias = Annotated[
    list[str], typer.Option("--filename", "-f", help="Manifest file or folder; - reads standard input. May repeat.")
]
Recursive: TypeAlias = Annotated[bool, typer.Option("--recursive", "-R", help="Go into folders below folders.")]
Output: TypeAlias = Annotated[
    str, typer.Option("--output", "-o", help="wide, json, yaml, name, jsonpath={...} or custom-columns=NAME:.path,...")
]
IgnoreNotFound: TypeAlias = Annotated[
    bool, typer.Option("--ignore-not-found", help="An object that is not there is no error.")
]
DryRun: TypeAlias = Annotated[
    str, typer.Option("--dry-run", help="none, client (send nothing) or server (check only).")
]
Timeout: TypeAlias = Annotated[
    float,
    typer.Option("--timeout", parser=duration, metavar="DURATION", help="How long to wait: 30s, 1m30s; 0 is for ever."),
]
Words: TypeAlias = Annotated[
    list[str], typer.Argument(metavar="TYPE [NAME...] | TYPE/NAME...", autocompletion=completion.types_and_names)
]


def before_the_verb(ctx: typer.Context, namespace: Namespace = "") -> None:
    """Take --namespace also before the verb, as kubectl does: `covey -n shop get pods`."""
    if namespace and hasattr(ctx.command, "commands"):
        ctx.default_map = _everywhere(ctx.command.commands, namespace)


def _everywhere(commands: Mapping[str, Any], namespace: str) -> dict[str, Any]:
    """The namespace as the default of every command below, whatever it says itself."""
    below = {name: _everywhere(getattr(command, "commands", {}), namespace) for name, command in commands.items()}
    return {"namespace": namespace, **below}
