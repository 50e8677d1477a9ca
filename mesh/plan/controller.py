"""The Controller protocol: what a controller declares, and the one function it is.

A controller is pure: it names what it watches, gathers what it needs from read-only caches, and plans. Queues, writes,
retries, back-off and metrics belong to the runtime in `mesh.client.runtime`. No controller talks to another but
through objects.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol, TypeAlias

from mesh.objects.kinds import Resource
from mesh.objects.labels import Selector
from mesh.objects.meta import Key
from mesh.objects.types import Object
from mesh.plan.actions import Plan


class Cache(Protocol):
    """A read-only view of one resource as an informer knows it. Objects must not be changed."""

    def get(self, key: Key) -> Object | None:
        """The object, or None."""

    def list(self, namespace: str = "", selector: Selector | None = None) -> Sequence[Object]:
        """Objects of one namespace ("" is all) that match, in no particular order."""

    def index(self, name: str, value: str) -> Sequence[Object]:
        """Objects filed under `value` by the index function that the controller declared as `name`."""


Caches: TypeAlias = Mapping[Resource, Cache]

MapToKeys: TypeAlias = Callable[[Object, Caches], Iterable[Key]]
"""Which keys have to run when this object was added, changed or deleted."""


@dataclass(frozen=True, slots=True)
class Watch:
    """One resource that a controller watches, and which of its keys a change there wakes.

    `indexes` are functions from an object to the values it is filed under; equal names must be equal functions.
    """

    resource: Resource
    keys: MapToKeys
    indexes: Mapping[str, Callable[[Object], Iterable[str]]] = field(default_factory=dict)


class Controller(Protocol):
    """One control loop, as a value."""

    @property
    def name(self) -> str:
        """In metrics, logs and as `source.component` of its events: "replicaset-controller"."""

    @property
    def watches(self) -> Sequence[Watch]:
        """What it watches; its caches hold exactly these resources."""

    def plan(self, key: Key, caches: Caches, now: datetime) -> Plan:
        """What to do about `key`, given what the caches show. Level-triggered: run twice, the second is empty once
        the first has taken effect. Raises nothing for any state that objects can be in."""
