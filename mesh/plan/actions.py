"""What controllers may ask to be done to objects: frozen values, executed by `mesh.client.executor`.

Every action on an existing object names the revision or the UID it expects, so that a plan made from a stale cache is
refused instead of undoing somebody's work; only `DeleteCollection` names none, for whatever is there has to go. Each
has a sentence for people (`str(action)`).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from typing import TypeAlias

from mesh.objects.kinds import Resource
from mesh.objects.meta import Key, key_of, name_of
from mesh.objects.types import Json, Object


@dataclass(frozen=True, slots=True)
class Create:
    """Create `object` (its name or generateName is set). AlreadyExists for a fixed name makes the key run again."""

    resource: Resource
    object: Object
    about: Object | None = field(default=None, compare=False)
    """On behalf of which object; it receives the SuccessfulCreate or FailedCreate event."""

    def __str__(self) -> str:
        meta = self.object["metadata"]
        return f"create {self.resource.singular} {meta.get('name') or meta.get('generateName')}"


@dataclass(frozen=True, slots=True)
class Update:
    """Replace an object, or only its subresource ("status"). `object` carries the resourceVersion it was made from."""

    resource: Resource
    object: Object
    subresource: str = ""

    def __str__(self) -> str:
        part = f" {self.subresource} of" if self.subresource else ""
        return f"update{part} {self.resource.singular} {name_of(self.object)}"


@dataclass(frozen=True, slots=True)
class Patch:
    """Merge-patch an object; `uid` makes sure that it is still the same one."""

    resource: Resource
    key: Key
    patch: Json
    uid: str = ""
    subresource: str = ""

    def __str__(self) -> str:
        return f"patch {self.resource.singular} {self.key}"


@dataclass(frozen=True, slots=True)
class Delete:
    """Delete the object with this UID; NotFound counts as done. `propagation` "" leaves it to the API's default.

    `revision` (a resourceVersion) is named where even a newer version of the same object must be spared.
    """

    resource: Resource
    key: Key
    uid: str
    propagation: str = ""
    grace_period_seconds: int | None = None
    revision: str = ""
    about: Object | None = field(default=None, compare=False)
    """On behalf of which object; it receives the SuccessfulDelete or FailedDelete event."""

    def __str__(self) -> str:
        return f"delete {self.resource.singular} {self.key}"


@dataclass(frozen=True, slots=True)
class DeleteCollection:
    """Delete all objects of a resource in a namespace, known to the plan or not; their dependents go in the background."""

    resource: Resource
    namespace: str

    def __str__(self) -> str:
        return f"delete all {self.resource.plural} in {self.namespace}"


@dataclass(frozen=True, slots=True)
class Record:
    """Record an Event about `about` (an object or an object reference)."""

    about: Object
    type: str
    """Normal or Warning."""
    reason: str
    message: str
    action: str = ""

    def __str__(self) -> str:
        return f"record {self.reason} about {self.about.get('kind', '')} {key_of(self.about)}: {self.message}"


Action: TypeAlias = Create | Update | Patch | Delete | DeleteCollection | Record


@dataclass(frozen=True, slots=True)
class Read:
    """A live read that a plan needs before it can decide: one object, or with `name` "" a whole collection.

    The answer is a tuple of objects; an object that does not exist is an empty one.
    """

    resource: Resource
    namespace: str = ""
    name: str = ""

    def __str__(self) -> str:
        return f"read {self.resource.plural} {Key(self.namespace, self.name)}"


@dataclass(frozen=True, slots=True)
class Plan:
    """What one pass wants done, in order; `again_after` asks for another pass even if nothing changes.

    `reads` asks for live reads first: the runtime does them and calls `plan` again with the answers, at once; the
    actions of such a plan are not carried out. `parallel` lets the executor run actions of one kind that follow each
    other (many creates) at the same time. After a plan's writes the runtime does not run the same key again before
    the caches have caught up with them.
    """

    actions: tuple[Action, ...] = ()
    again_after: timedelta | None = None
    parallel: bool = False
    reads: tuple[Read, ...] = ()


NOTHING = Plan()
"""The plan of a pass that found everything as it should be."""
