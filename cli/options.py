"""Options that many verbs share, declared once, in kubectl's names."""

from __future__ import annotations

from typing import Annotated, TypeAlias

import typer

from cli import completion

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
Words: TypeAlias = Annotated[
    list[str], typer.Argument(metavar="TYPE [NAME...] | TYPE/NAME...", autocompletion=completion.types_and_names)
]
