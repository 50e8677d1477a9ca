"""What a kind declares to be printed: its columns, and how an object becomes a row of cells."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import TypeAlias

from mesh.objects.duration import since
from mesh.objects.types import Json, Object

Cells: TypeAlias = list[Json]

NONE = "<none>"


@dataclass(frozen=True, slots=True)
class Column:
    """One column. Priority 0 is always shown, 1 only with `-o wide`."""

    name: str
    type: str = "string"
    description: str = ""
    priority: int = 0
    format: str = ""

    def definition(self) -> Object:
        """The column as a `TableColumnDefinition`."""
        return {
            "name": self.name,
            "type": self.type,
            "format": self.format,
            "description": self.description,
            "priority": self.priority,
        }


def _no_conditions(_obj: Object) -> list[Object]:
    return []


@dataclass(frozen=True, slots=True)
class Printer:
    """How a kind is printed: one cell for each column, wide ones included."""

    columns: tuple[Column, ...]
    cells: Callable[[Object, datetime], Cells]
    conditions: Callable[[Object], list[Object]] = _no_conditions
    """Conditions of the row, by which clients hide what has completed."""


NAME = Column(
    "Name",
    format="name",
    description="Name must be unique within a namespace. Is required when creating resources, although some resources "
    "may allow a client to request the generation of an appropriate name automatically.",
)
AGE = Column(
    "Age",
    description="CreationTimestamp is a timestamp representing the server time when this object was created. It is "
    "represented in RFC3339 form and is in UTC.",
)
CONTAINERS = Column("Containers", description="Names of each container in the template.", priority=1)
IMAGES = Column("Images", description="Images referenced by each container in the template.", priority=1)


def age(obj: Object, now: datetime) -> str:
    """How long ago the object was created."""
    return since(obj["metadata"].get("creationTimestamp"), now)


def shortened(items: list[str], total: int) -> str:
    """A list of at most three items; says how many were left out."""
    shown = ",".join(items[:3])
    return f"{shown} + {total - 3} more..." if total > 3 else shown
