"""Flags with a value, as kubectl takes them."""

from __future__ import annotations

import pytest
import typer
from typer.testing import CliRunner

from cli.flags import Command, plain

FLAGS = {"--wait": (["--wait"], ["--no-wait"]), "--all": (["--all"], []), "-A": (["--all-namespaces"], [])}


@pytest.mark.parametrize(
    ("given", "plainly"),
    [
        (["pod", "--wait=false", "--all=true"], ["pod", "--no-wait", "--all"]),
        (["--all=false", "--wait=true"], ["--wait"]),
        (["-A=true", "--wait"], ["--all-namespaces", "--wait"]),
        (["--output=true", "--wait=maybe"], ["--output=true", "--wait=maybe"]),
        (["x", "--", "--wait=false"], ["x", "--", "--wait=false"]),
    ],
)
def test_plain(given: list[str], plainly: list[str]) -> None:
    assert plain(given, FLAGS) == plainly


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ([], "True False\n"),
        (["--wait=false", "--all=true"], "False True\n"),
        (["--all=false", "--no-wait"], "False False\n"),
    ],
)
def test_in_a_command(arguments: list[str], told: str) -> None:
    app = typer.Typer()

    @app.command(cls=Command)
    def verb(
        wait: bool = typer.Option(True, "--wait/--no-wait"),
        everything: bool = typer.Option(False, "--all"),
    ) -> None:
        typer.echo(f"{wait} {everything}")

    assert CliRunner().invoke(app, arguments).output == told
