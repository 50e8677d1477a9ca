"""The patches that replace or merge parts of an object: JSON patch (RFC 6902) and JSON merge patch (RFC 7386).

Strategic merge patches have a module of their own, `strategic.py`. All functions leave their arguments alone and return
a fresh object. Errors are those of `k8s.io/apiserver/pkg/endpoints/handlers/patch.go`.
"""

from __future__ import annotations

from typing import Final

import jsonpatch
import jsonpointer
import orjson

from mesh.errors import BadRequest, Cause, Invalid, RequestTooLarge
from mesh.objects import schema
from mesh.objects.meta import thaw
from mesh.objects.types import Json, Object

MAX_OPERATIONS: Final = 10_000
"""How many operations a JSON patch may hold."""
MAX_COPIED: Final = 3 << 20
"""How many bytes its copy operations may add: each can double what the one before has made."""

_REJECTED = "the server rejected our request due to an error in our request"
_BAD_PATCH = "Invalid JSON Patch"
_OPERATIONS = frozenset({"add", "remove", "replace", "move", "copy", "test"})


def json_patch(obj: Object, operations: Json) -> Object:
    """`obj` after the operations of a JSON patch. Raises BadRequest, RequestTooLarge or Invalid (does not apply)."""
    if not isinstance(operations, list):
        raise BadRequest("json: cannot unmarshal object into Go value of type jsonpatch.Patch")
    if len(operations) > MAX_OPERATIONS:
        raise RequestTooLarge(
            f"The allowed maximum operations in a JSON patch is {MAX_OPERATIONS}, got {len(operations)}"
        )
    for position, operation in enumerate(operations):
        if not isinstance(operation, dict) or operation.get("op") not in _OPERATIONS:
            raise _does_not_apply(f"operation {position}: unexpected kind: unknown")
        if not isinstance(operation.get("path"), str):
            raise _does_not_apply(f"operation {position}: {operation['op']} operation has no path")
    try:
        result = _apply(obj, operations)
    except (jsonpatch.JsonPatchException, jsonpointer.JsonPointerException, TypeError, KeyError) as error:
        raise _does_not_apply(str(error)) from error
    if not isinstance(result, dict):
        raise _does_not_apply("the patched document is not an object")
    return result


def _apply(obj: Object, operations: list[Object]) -> Json:
    """One operation after the other on a copy. The values are copied as well: they become part of the document, which
    later operations change, and the same patch may be applied again when somebody else was faster."""
    result: Json = thaw(obj)
    copied = 0
    for operation in operations:
        if operation["op"] == "copy":
            copied += len(orjson.dumps(jsonpointer.resolve_pointer(result, operation.get("from", ""), None)))
            if copied > MAX_COPIED:
                raise _does_not_apply(
                    f"Unable to complete the copy, the accumulated size increase of copy is {copied}, "
                    f"exceeding the limit {MAX_COPIED}"
                )
        try:
            result = jsonpatch.apply_patch(result, [thaw(operation)], in_place=True)
        except jsonpatch.JsonPatchTestFailed as error:
            raise _does_not_apply(f"testing value {operation['path']} failed: test failed") from error
    return result


def _does_not_apply(detail: str) -> Invalid:
    return Invalid(_REJECTED, causes=[Cause("patch", "FieldValueInvalid", detail)])


def merge_patch(obj: Object, patch: Json) -> Object:
    """`obj` after a JSON merge patch: null deletes, objects merge, everything else replaces."""
    if not isinstance(patch, dict):
        raise BadRequest(_BAD_PATCH)
    merged: Object = _merge(thaw(obj), patch)
    return merged


def _merge(target: Json, patch: Json) -> Json:
    if not isinstance(patch, dict):
        return thaw(patch)
    result = target if isinstance(target, dict) else {}
    for key, value in patch.items():
        if value is None:
            result.pop(key, None)
        else:
            result[key] = _merge(result.get(key), value)
    return result


def conform_patched(obj: Object, api_version: str, kind: str, *, strict: bool) -> list[str]:
    """Check the shape of a patched object, in place, as `schema.conform` does for whole ones.

    Returns the problems that strict decoding found; with `strict` they raise. What a patch broke is said as an
    `Invalid` about the field "patch", with the patched document as the value.
    """
    document = orjson.dumps(obj)
    try:
        problems = schema.decode(obj, api_version, kind)
    except schema.Mismatch as error:
        raise _undecodable(document, str(error)) from error
    if strict and problems:
        raise _undecodable(document, f"strict decoding error: {', '.join(problems)}")
    return problems


def _undecodable(document: bytes, detail: str) -> Invalid:
    message = f"Invalid value: {orjson.dumps(document.decode()).decode()}: {detail}"
    return Invalid(f' "" is invalid: patch: {message}', causes=[Cause("patch", "FieldValueInvalid", message)])
