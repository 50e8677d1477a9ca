"""Validation of `metadata`, the same for every kind.

Source: k8s.io/apimachinery/pkg/api/validation/objectmeta.go.
"""

from __future__ import annotations

from collections.abc import Mapping

from controlplane.apiserver.strategies import causes
from mesh.errors import Cause
from mesh.objects import names
from mesh.objects.kinds import Resource
from mesh.objects.types import Json, Object

MAX_ANNOTATIONS_BYTES = 256 * 1024

_IMMUTABLE = ("name", "namespace", "uid", "creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds")


def reset_for_create(obj: Object) -> None:
    """Drop what only the server may say about an object; it sets uid and creationTimestamp afterwards or before."""
    for field in ("deletionTimestamp", "deletionGracePeriodSeconds", "generation", "selfLink"):
        obj["metadata"].pop(field, None)


def carry_over(new: Object, old: Object) -> None:
    """Put the metadata that the server owns back into an updated object (`rest.BeforeUpdate`).

    A uid that the client sent stays, so that validation can refuse a wrong one.
    """
    meta, before = new["metadata"], old["metadata"]
    if "uid" in before:
        meta.setdefault("uid", before["uid"])
    for field in ("creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds", "generation"):
        if field in before:
            meta[field] = before[field]
        else:
            meta.pop(field, None)
    meta.pop("selfLink", None)


def validate_metadata(obj: Object, resource: Resource, name_check: names.Check) -> list[Cause]:
    """Everything wrong with the metadata of a new object."""
    meta = obj["metadata"]
    found: list[Cause] = []
    if base := meta.get("generateName"):
        found += causes.each("metadata.generateName", base, names.prefix(name_check)(base))
    if name := meta.get("name"):
        found += causes.each("metadata.name", name, name_check(name))
    else:
        found.append(causes.required("metadata.name", "name or generateName is required"))
    namespace = meta.get("namespace", "")
    if not resource.namespaced:
        if namespace:
            found.append(causes.forbidden("metadata.namespace", "not allowed on this type"))
    elif not namespace:
        found.append(causes.required("metadata.namespace"))
    else:
        found += causes.each("metadata.namespace", namespace, names.dns1123_label(namespace))
    return found + _validate_maps_and_lists(meta)


def validate_metadata_update(new: Object, old: Object) -> list[Cause]:
    """Everything wrong with changing `old`'s metadata into `new`'s."""
    meta, before = new["metadata"], old["metadata"]
    found: list[Cause] = []
    if "deletionTimestamp" in before:
        added = sorted(set(meta.get("finalizers") or ()) - set(before.get("finalizers") or ()))
        if added:
            listed = ", ".join(causes.quote(name) for name in added)
            found.append(
                causes.forbidden(
                    "metadata.finalizers",
                    "no new finalizers can be added if the object is being deleted, found new finalizers "
                    f"[]string{{{listed}}}",
                )
            )
    if meta.get("generation", 0) < before.get("generation", 0):
        found.append(causes.invalid("metadata.generation", meta.get("generation", 0), "must not be decremented"))
    for field in _IMMUTABLE:
        found += causes.immutable(f"metadata.{field}", meta.get(field), before.get(field))
    return found + _validate_maps_and_lists(meta)


def _validate_maps_and_lists(meta: Object) -> list[Cause]:
    return [
        *validate_labels(meta.get("labels"), "metadata.labels"),
        *validate_annotations(meta.get("annotations"), "metadata.annotations"),
        *_validate_owner_references(meta.get("ownerReferences") or [], "metadata.ownerReferences"),
        *(
            cause
            for name in meta.get("finalizers") or ()
            for cause in causes.each("metadata.finalizers", name, names.finalizer(name))
        ),
    ]


def validate_labels(labels: Mapping[str, str] | None, path: str) -> list[Cause]:
    """Keys are qualified names, values label values."""
    found: list[Cause] = []
    for name, value in (labels or {}).items():
        found += causes.each(path, name, names.qualified_name(name))
        found += causes.each(path, value, names.label_value(value))
    return found


def validate_annotations(annotations: Mapping[str, str] | None, path: str) -> list[Cause]:
    """Keys are qualified names in any case; all together at most 256 KiB."""
    found: list[Cause] = []
    size = 0
    for name, value in (annotations or {}).items():
        found += causes.each(path, name, names.qualified_name(name.lower()))
        size += len(name.encode()) + len(value.encode())
    if size > MAX_ANNOTATIONS_BYTES:
        found.append(causes.too_long(path, MAX_ANNOTATIONS_BYTES))
    return found


def _validate_owner_references(references: Json, path: str) -> list[Cause]:
    found: list[Cause] = []
    controller = ""
    for position, ref in enumerate(references):
        at = causes.index(path, position)
        api_version = ref.get("apiVersion", "")
        if not api_version:
            found.append(causes.invalid(f"{at}.apiVersion", api_version, "version must not be empty"))
        found += [
            causes.invalid(f"{at}.{field}", "", f"{field} must not be empty")
            for field in ("kind", "name", "uid")
            if not ref.get(field)
        ]
        if (api_version, ref.get("kind")) == ("v1", "Event"):
            found.append(causes.invalid(at, ref, "/v1, Kind=Event is disallowed from being an owner"))
        if ref.get("controller"):
            if controller:
                found.append(
                    causes.invalid(
                        path,
                        references,
                        "Only one reference can have Controller set to true. Found "
                        f'"true" in references for {controller} and {ref.get("name", "")}',
                    )
                )
            controller = controller or str(ref.get("name", ""))
    return found
