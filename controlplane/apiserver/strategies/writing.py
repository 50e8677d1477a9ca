"""What writes of an object and of its status keep apart: small rules that most kinds share."""

from __future__ import annotations

from controlplane.apiserver.strategies.probe_validation import non_negative
from mesh.errors import Cause
from mesh.objects.types import Object


def drop_status(obj: Object) -> None:
    """A client cannot create an object with a status."""
    obj["status"] = {}


def keep(field: str, new: Object, old: Object) -> None:
    """Put the old value of a top-level field back."""
    if field in old:
        new[field] = old[field]
    else:
        new.pop(field, None)


def keep_status(new: Object, old: Object) -> None:
    """A write of the object leaves its status as it was."""
    keep("status", new, old)


def keep_spec(new: Object, old: Object) -> None:
    """A write of the status leaves the spec as it was."""
    keep("spec", new, old)


def keep_metadata(new: Object, old: Object) -> None:
    """A write of the status leaves labels, annotations, owners and finalizers alone (ResetObjectMetaForStatus)."""
    meta, before = new["metadata"], old["metadata"]
    for field in ("labels", "annotations", "ownerReferences", "finalizers", "deletionTimestamp", "generation"):
        if field in before:
            meta[field] = before[field]
        else:
            meta.pop(field, None)


def start_generation(obj: Object) -> None:
    """The first version of an object's desired state."""
    obj["metadata"]["generation"] = 1


def bump_generation(new: Object, old: Object) -> None:
    """The generation counts changes of the desired state."""
    before = old["metadata"].get("generation", 0)
    new["metadata"]["generation"] = before + (new.get("spec") != old.get("spec"))


def create_workload(obj: Object) -> None:
    """A new object with spec and status: no status yet, generation 1."""
    drop_status(obj)
    start_generation(obj)


def update_workload(new: Object, old: Object) -> None:
    """A write of such an object: status kept, generation bumped when the spec changed."""
    keep_status(new, old)
    bump_generation(new, old)


def non_negative_fields(part: Object, fields: tuple[str, ...], path: str) -> list[Cause]:
    """A cause for each of the fields that is below zero."""
    return [cause for field in fields for cause in non_negative(part.get(field), f"{path}.{field}")]
