"""What the pipeline asks about a kind: defaults, validation, what a write may touch, field selectors, scale, grace.

The division of work is that of `k8s.io/apiserver/pkg/registry/rest` (RESTCreateStrategy, RESTUpdateStrategy). The
pipeline calls, in this order:

    create:  shape check, `defaults`, mutating admission, system metadata (name from generateName, uid,
             creationTimestamp), `prepare_create`, allocation, `validate_create`, store
    update:  shape check, `defaults`, mutating admission, `prepare_update`, `validate_update`, store if anything changed

Functions that prepare or default change their argument in place (it is the request's own, never the cache's);
functions that validate change nothing and return causes, which `invalid` turns into the error a client sees.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

from controlplane.apiserver.strategies.metadata import (
    carry_over,
    reset_for_create,
    validate_metadata,
    validate_metadata_update,
)
from mesh.errors import BadRequest, Cause, Invalid
from mesh.objects import fields, names
from mesh.objects.fields import FieldSelector
from mesh.objects.kinds import Resource
from mesh.objects.types import Object

Causes: TypeAlias = list[Cause]


def _nothing(_obj: Object) -> None:
    """Nothing to change."""


def _nothing_of(_new: Object, _old: Object) -> None:
    """Nothing to carry over."""


def _no_causes(_obj: Object) -> Causes:
    return []


def _no_causes_of(_new: Object, _old: Object) -> Causes:
    return []


def _no_warnings(_obj: Object) -> list[str]:
    return []


def _name(obj: Object) -> str:
    return str(obj["metadata"].get("name", ""))


def _namespace(obj: Object) -> str:
    return str(obj["metadata"].get("namespace", ""))


@dataclass(frozen=True, slots=True, kw_only=True)
class UpdateRule:
    """One way of writing an existing object: the object itself, or one of its subresources."""

    prepare: Callable[[Object, Object], None] = _nothing_of
    """(new, old): put back into `new` what this way of writing may not touch, and bump the generation if due."""
    validate: Callable[[Object, Object], Causes] = _no_causes_of
    """(new, old): what is wrong with the change, metadata excepted (which is the same for all kinds)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ScaleRule:
    """Where a kind keeps what its `scale` subresource (`autoscaling/v1 Scale`) shows and sets."""

    replicas: Callable[[Object], int]
    """`spec.replicas` of the object."""
    status_replicas: Callable[[Object], int]
    """`status.replicas` of the object."""
    selector: Callable[[Object], str]
    """The label selector of its pods in string notation."""
    set_replicas: Callable[[Object, int], None]
    """Changes `spec.replicas` in place."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Strategy:
    """One kind's rules, as a value. `updates` maps "" (the object itself) and subresource names to their rule."""

    resource: Resource
    default: Callable[[Object], None] = _nothing
    prepare: Callable[[Object], None] = _nothing
    validate: Callable[[Object], Causes] = _no_causes
    updates: Mapping[str, UpdateRule] = field(default_factory=lambda: {"": UpdateRule()})
    name_check: names.Check = names.dns1123_subdomain
    fields: Mapping[str, Callable[[Object], str]] = field(default_factory=dict)
    """Field selectors beyond metadata.name and metadata.namespace: label -> its value in an object ("" when absent)."""
    scale: ScaleRule | None = None
    grace_period: Callable[[Object, int | None], int] | None = None
    """(object, requested seconds or None) -> seconds to keep a deleted object for; None: deletion is immediate."""
    warnings: Callable[[Object], list[str]] = _no_warnings
    """Sentences for `Warning` headers about a created or updated object."""
    deprecated: str = ""
    """The sentence of the `Warning` header on every answer about this kind, read or written; empty for most."""
    unconditional_update: bool = True
    """Whether an update without resourceVersion is accepted (it then overwrites whatever is there)."""
    create_on_update: bool = False
    """Whether PUT of an object that does not exist creates it."""

    def defaults(self, obj: Object) -> None:
        """Fill in, in place, all that Kubernetes fills in when it decodes an object of this kind."""
        obj.setdefault("metadata", {})
        self.default(obj)

    def prepare_create(self, obj: Object) -> None:
        """Drop, in place, what a client may not set on create (status), and start the generation."""
        reset_for_create(obj)
        self.prepare(obj)

    def validate_create(self, obj: Object) -> Causes:
        """Everything wrong with a new object, metadata included, in the order Kubernetes reports it."""
        return validate_metadata(obj, self.resource, self.name_check) + self.validate(obj)

    def prepare_update(self, new: Object, old: Object, subresource: str = "") -> None:
        """Put back into `new`, in place, what this way of writing may not touch; bump the generation when due."""
        carry_over(new, old)
        self.updates[subresource].prepare(new, old)

    def validate_update(self, new: Object, old: Object, subresource: str = "") -> Causes:
        """Everything wrong with changing `old` into `new`, metadata included."""
        return validate_metadata_update(new, old) + self.updates[subresource].validate(new, old)

    def selectable_fields(self, obj: Object) -> dict[str, str]:
        """All fields by which this object can be selected, with their values."""
        meta = obj["metadata"]
        values = {"metadata.name": meta.get("name", ""), "metadata.namespace": meta.get("namespace", "")}
        if not self.resource.namespaced:
            del values["metadata.namespace"]
        values.update({label: get(obj) for label, get in self.fields.items()})
        return values

    def field_selector(self, text: str) -> FieldSelector:
        """Parse a field selector for this resource; raises `BadRequest` for a field it cannot be selected by."""
        selector = fields.parse(text)
        for term in selector.terms:
            if term.field not in self.field_labels:
                if self.fields:
                    raise BadRequest(f"field label not supported: {term.field}")
                raise BadRequest(
                    f'"{term.field}" is not a known field selector: only "metadata.name", "metadata.namespace"'
                )
        return selector

    def field_predicate(self, selector: FieldSelector) -> Callable[[Object], bool]:
        """A test for objects that reads only the fields the selector names."""
        getters = {"metadata.name": _name, "metadata.namespace": _namespace, **self.fields}
        tests = [(getters[term.field], term.value, term.equal) for term in selector.terms]
        return lambda obj: all((get(obj) == value) == equal for get, value, equal in tests)

    @property
    def field_labels(self) -> frozenset[str]:
        """The labels a field selector for this resource may use."""
        return frozenset({"metadata.name", "metadata.namespace", *self.fields})


def invalid(resource: Resource, name: str, causes: Causes) -> Invalid:
    """The error for `causes`, in the words users know: `Deployment.apps "x" is invalid: spec.selector: Required value`.

    Source: `NewInvalid` of k8s.io/apimachinery/pkg/api/errors and `Aggregate.Error` (duplicates named once, several
    sentences in brackets).
    """
    sentences = list(dict.fromkeys(f"{cause.field}: {cause.message}" for cause in causes))
    kind = f"{resource.kind}.{resource.group}" if resource.group else resource.kind
    message = f'{kind} "{name}" is invalid'
    if len(sentences) == 1:
        message += f": {sentences[0]}"
    elif sentences:
        message += f": [{', '.join(sentences)}]"
    return Invalid(message, name=name, group=resource.group, kind=resource.kind, causes=causes)
