"""The Controller protocol: what a controller declares, and the one function it is.

A controller is pure: it names what it watches, gathers what it needs from what it is shown, and plans. Queues, writes,
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
from mesh.plan.actions import Action, Plan, Read


class Cache(Protocol):
    """A read-only view of one resource as an informer knows it. Objects must not be changed."""

    def get(self, key: Key) -> Object | None:
        """The object, or None."""

    def list(self, namespace: str = "", selector: Selector | None = None) -> Sequence[Object]:
        """Objects of one namespace ("" is all) that match, in no particular order."""

    def index(self, name: str, value: str) -> Sequence[Object]:
        """Objects filed under `value` by the index function that the controller declared as `name`."""


Caches: TypeAlias = Mapping[Resource, Cache]

IndexFunction: TypeAlias = Callable[[Object], Iterable[str]]
"""From an object to the values it is filed under."""

MapToKeys: TypeAlias = Callable[[Object, Caches], Iterable[Key]]
"""Which keys have to run when this object was added, changed (called for its old and its new state) or deleted."""


@dataclass(frozen=True, slots=True)
class Watch:
    """One resource that a controller watches, and which of its keys a change there wakes.

    Indexes of equal names on one resource must be equal functions: informers are shared.
    """

    resource: Resource
    keys: MapToKeys
    indexes: Mapping[str, IndexFunction] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Failure:
    """What went wrong when the previous plan for the key was carried out: the action and the API's sentence."""

    action: Action
    message: str


@dataclass(frozen=True, slots=True)
class Observed:
    """All that a plan may look at.

    `answers` holds the live reads that the plan asked for in this pass, `failure` the last refusal met for this key
    (None once a plan went through), so that a controller can show it in a condition.
    """

    caches: Caches
    now: datetime
    answers: Mapping[Read, tuple[Object, ...]] = field(default_factory=dict)
    failure: Failure | None = None


class Controller(Protocol):
    """One control loop, as a value."""

    @property
    def name(self) -> str:
        """In metrics, logs and as `source.component` of its events: "replicaset-controller"."""

    @property
    def watches(self) -> Sequence[Watch]:
        """What it watches; its caches hold exactly these resources."""

    def plan(self, key: Key, observed: Observed) -> Plan:
        """What to do about `key`, given what is observed. Level-triggered: run twice, the second is empty once
        the first has taken effect. Raises nothing for any state that objects can be in."""


def itself(obj: Object, _caches: Caches) -> Iterable[Key]:
    """The map of a controller whose keys are the objects of the watched resource."""
    meta = obj["metadata"]
    return (Key(meta.get("namespace", ""), meta["name"]),)
