"""Type aliases of the object model: the only place where `Any` is allowed to enter."""

from __future__ import annotations

from typing import Any, TypeAlias

Object: TypeAlias = dict[str, Any]
"""A Kubernetes object as the API documents it: JSON-shaped, unknown fields and all."""

Json: TypeAlias = Any
"""Any JSON value: None, bool, int, float, str, list of these, or dict from str to these."""
