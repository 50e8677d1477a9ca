"""Options that many verbs share, declared once, in kubectl's names."""

from __future__ import annotations

from typing import Annotated, TypeAlias

import typer

from cli import completion
from cli.durations import parse_duration


def duration(text: str | float) -> float:
    """Seconds of an option like --timeout 1m30s; an option's default comes as it is."""
    try:
        return parse_duration(text) if isinstance(text, str) else text
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None


def inherited(ctx: typer.Context, option: typer.CallbackParam, value: str) -> str:
    """What was given before the verb (after `covey`, `covey create`) holds for the verb, unless it has its own."""
    above = ctx.parent.params.get(option.name) if ctx.parent and option.name else None
    return above if above and value == option.default else value


Namespace: TypeAlias = Annotated[
    str,
    typer.Option(
        "--namespace", "-n", help="Namespace to use.", autocompletion=completion.namespaces, callback=inherited
    ),
]
AllNamespaces: TypeAlias = Annotated[bool, typer.Option("--all-namespaces", "-A", help="Look in every namespace.")]
Selector: TypeAlias = Annotated[str, typer.Option("--selector", "-l", help="Label selector: app=web,tier!=db.")]
FieldSelector: TypeAlias = Annotated[
    str, typer.Option("--field-selector", help="Field selector: status.phase=Running.")
]
Files: TypeAlias = Annotated[
    list[str], typer.Option("--filename", "-f", help="Manifest file, folder or URL; - is standard input. May repeat.")
]
Recursive: TypeAlias = Annotated[bool, typer.Option("--recursive", "-R", help="Go into folders below folders.")]
Output: TypeAlias = Annotated[
    str,
    typer.Option(
        "--output",
        "-o",
        help="wide, json, yaml, name, jsonpath={...} or custom-columns=NAME:.path,...",
        callback=inherited,
    ),
]
NoHeaders: TypeAlias = Annotated[bool, typer.Option("--no-headers", help="Leave out the line of column names.")]
IgnoreNotFound: TypeAlias = Annotated[
    bool, typer.Option("--ignore-not-found", help="An object that is not there is no error.")
]
DryRun: TypeAlias = Annotated[
    str, typer.Option("--dry-run", help="none, client (send nothing) or server (check only).", callback=inherited)
]
Timeout: TypeAlias = Annotated[
    float,
    typer.Option("--timeout", parser=duration, metavar="DURATION", help="How long to wait: 30s, 1m30s; 0 is for ever."),
]
Words: TypeAlias = Annotated[
    list[str], typer.Argument(metavar="TYPE [NAME...] | TYPE/NAME...", autocompletion=completion.types_and_names)
]


def before_the_verb(namespace: Namespace = "") -> None:
    """Take --namespace also before the verb, as kubectl does: `covey -n shop get pods`."""
