"""Paths below a directory that somebody else chose: in a volume, among the seccomp profiles of a node."""

from __future__ import annotations

from controlplane.apiserver.strategies import causes
from mesh.errors import Cause


def validate_descending_path(value: str, path: str) -> list[Cause]:
    """Relative, and never upwards."""
    found = [causes.invalid(path, value, "must be a relative path")] if value.startswith("/") else []
    if ".." in value.split("/"):
        found.append(causes.invalid(path, value, "must not contain '..'"))
    return found
