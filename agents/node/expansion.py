"""`$(VAR)` in commands, arguments and environment values, as Kubernetes expands it.

`$$` stands for one dollar; a reference to an unknown variable stays as it is written.
https://kubernetes.io/docs/tasks/inject-data-application/define-interdependent-environment-variables/. Pure.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

_REFERENCE = re.compile(r"\$(?:\$|\(([^)]*)\))")


def expand(text: str, variables: Mapping[str, str]) -> str:
    """`text` with every `$(NAME)` that `variables` knows replaced, and every `$$` turned into `$`."""

    def value(match: re.Match[str]) -> str:
        if match.group(0) == "$$":
            return "$"
        return variables.get(match.group(1), match.group(0))

    return _REFERENCE.sub(value, text)


def expand_strictly(text: str, variables: Mapping[str, str]) -> str:
    """Like `expand`, for subPathExpr: an unknown variable raises `KeyError` with its name."""

    def value(match: re.Match[str]) -> str:
        return "$" if match.group(0) == "$$" else variables[match.group(1)]

    return _REFERENCE.sub(value, text)
