"""Flags as kubectl takes them: `--wait=false` and `--all=true` beside `--no-wait` and `--all`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import typer
from typer.core import TyperCommand, TyperOption

_VALUES = {"true": True, "True": True, "1": True, "t": True, "false": False, "False": False, "0": False, "f": False}
"""What Go's strconv.ParseBool understands, in the spellings that people use."""


class Command(TyperCommand):
    """A verb whose flags take a value too."""

    def parse_args(self, ctx: typer.Context, args: list[str]) -> list[str]:  # type: ignore[override]  # a private base
        """The arguments with such flags in the form that typer knows."""
        flags: dict[str, tuple[list[str], list[str]]] = {}
        for option in self.params:
            if isinstance(option, TyperOption) and option.is_flag:
                yes = [option.opts[0]] if option.opts else []
                no = [option.secondary_opts[0]] if option.secondary_opts else []
                flags |= dict.fromkeys(option.opts, (yes, no))
        return super().parse_args(ctx, plain(args, flags))


def plain(args: Sequence[str], flags: Mapping[str, tuple[list[str], list[str]]]) -> list[str]:
    """`--flag=true` and `--flag=false` as what each stands for; `flags` has both for each flag. Behind `--` all stays."""
    end = args.index("--") if "--" in args else len(args)
    found: list[str] = []
    for word in args[:end]:
        name, equals, value = word.partition("=")
        if equals and name in flags and value in _VALUES:
            yes, no = flags[name]
            found += yes if _VALUES[value] else no
        else:
            found.append(word)
    return [*found, *args[end:]]
