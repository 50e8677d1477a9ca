"""Strategic merge patch: merging driven by what the schema says about each field.

Lists with a merge key are merged item by item, lists of scalars as sets, everything else as in a merge patch; a patch
may carry directives: `$patch` (replace, delete, merge), `$retainKeys`, `$setElementOrder/<list>` and
`$deleteFromPrimitiveList/<list>`. Source: k8s.io/apimachinery/pkg/util/strategicpatch/patch.go.
"""

from __future__ import annotations

from typing import Final

from mesh.errors import BadRequest
from mesh.objects.definitions import definition_of, definitions
from mesh.objects.meta import thaw
from mesh.objects.types import Json, Object

_DIRECTIVE: Final = "$patch"
_RETAIN: Final = "$retainKeys"
_ORDER: Final = "$setElementOrder/"
_DELETE: Final = "$deleteFromPrimitiveList/"


def strategic_merge_patch(obj: Object, patch: Json, api_version: str, kind: str) -> Object:
    """`obj`, of this kind, after the patch. Raises `BadRequest` for a malformed patch, KeyError for an unknown kind."""
    name = definition_of(api_version, kind)
    if name is None:
        raise KeyError((api_version, kind))
    if not isinstance(patch, dict):
        raise BadRequest("json: cannot unmarshal array into Go value of type map[string]interface {}")
    return _merge_map(thaw(obj), thaw(patch), {"$ref": name})


def _field(schema: Object | None, key: str) -> Object | None:
    """The schema of field `key` of a value with this schema; None where nothing is known."""
    if schema is None:
        return None
    if reference := schema.get("$ref"):
        schema = definitions()[reference]
    if properties := schema.get("properties"):
        found: Object | None = properties.get(key)
        return found
    return schema.get("additionalProperties") or None


def _strategies(schema: Object | None) -> list[str]:
    return str((schema or {}).get("x-kubernetes-patch-strategy", "")).split(",")


def _merge_map(original: Object, patch: Object, schema: Object | None) -> Object:
    if _DIRECTIVE in patch:
        return _apply_map_directive(patch)
    _apply_retain_keys(original, patch)
    _apply_element_orders(original, patch, schema)
    for key, value in patch.items():
        deleting = key.startswith(_DELETE)
        name = key.removeprefix(_DELETE)
        field = _field(schema, name)
        if deleting and not isinstance(value, list):
            raise BadRequest("invalid patch format of primitive list")
        if value is None:
            original.pop(name, None)
        elif name not in original:
            if not deleting:
                original[name] = _without_directives(value)
        elif isinstance(value, dict) and isinstance(original[name], dict):
            replace = "replace" in _strategies(field)
            original[name] = _without_directives(value) if replace else _merge_map(original[name], value, field)
        elif isinstance(value, list) and isinstance(original[name], list):
            original[name] = _merge_list(original[name], value, field, deleting=deleting)
        else:
            original[name] = _without_directives(value)
    return original


def _apply_map_directive(patch: Object) -> Object:
    directive = patch.pop(_DIRECTIVE)
    if directive == "replace":
        replaced: Object = _without_directives(patch)
        return replaced
    if directive == "delete":
        return {}
    raise BadRequest(f"unknown patch type: {directive} in map: {patch}")


def _apply_retain_keys(original: Object, patch: Object) -> None:
    """`$retainKeys` lists all keys the result may have; what the original has beyond them goes."""
    if _RETAIN not in patch:
        return
    keep = patch.pop(_RETAIN)
    if not isinstance(keep, list) or any(key not in keep for key in patch if not key.startswith("$")):
        raise BadRequest("invalid patch format of retainKeys")
    for key in [key for key in original if key not in keep]:
        del original[key]


def _apply_element_orders(original: Object, patch: Object, schema: Object | None) -> None:
    """Merge each list that comes with `$setElementOrder` and put it in that order; takes both out of the patch."""
    for directive in [key for key in patch if key.startswith(_ORDER)]:
        order = patch.pop(directive)
        name = directive.removeprefix(_ORDER)
        if name not in original and name not in patch:
            continue
        old, new = original.get(name) or [], patch.pop(name, None)
        if any(not isinstance(part, list) for part in (order, old, new if new is not None else [])):
            raise BadRequest("invalid patch format of setElementOrder list")
        deleted = patch.pop(_DELETE + name, None)
        field = _field(schema, name)
        merge_key = (field or {}).get("x-kubernetes-patch-merge-key", "")
        _check_order(new or [], order, merge_key)
        merged = old if new is None else _merge_list(old, new, field)
        if deleted is not None:
            merged = _merge_list(merged, deleted, field, deleting=True)
        keys = [_identity(item, merge_key) for item in order]
        original[name] = _in_order(merged, keys, [_identity(item, merge_key) for item in old], merge_key)


def _check_order(patch: list[Json], order: list[Json], merge_key: str) -> None:
    """The order must name the patch's own items, in the patch's order."""
    wanted = [_identity(item, merge_key) for item in order]
    present = [_identity(item, merge_key) for item in patch if not (isinstance(item, dict) and _DIRECTIVE in item)]
    positions = [wanted.index(key) for key in present if key in wanted]
    if len(positions) < len(present) or positions != sorted(positions):
        raise BadRequest(f"The order in patch list:\n{patch}\n doesn't match {_ORDER.rstrip('/')} list:\n{order}\n")


def _identity(item: Json, merge_key: str) -> Json:
    """What identifies a list item: its merge key's value, or the scalar itself."""
    if not merge_key:
        return item
    if not isinstance(item, dict) or merge_key not in item:
        raise BadRequest(f"map: {item} does not contain declared merge key: {merge_key}")
    return item[merge_key]


def _merge_list(original: list[Json], patch: list[Json], field: Object | None, *, deleting: bool = False) -> list[Json]:
    if "merge" not in _strategies(field):
        replaced: list[Json] = _without_directives(patch)
        return replaced
    merge_key = (field or {}).get("x-kubernetes-patch-merge-key", "")
    if not any(isinstance(item, dict) for item in [*original, *patch]):
        if deleting:
            return [item for item in original if item not in patch]
        merged = [*original, *(item for item in patch if item not in original)]
        return _in_order(merged, patch, original, "")
    if not merge_key:
        raise BadRequest("cannot merge lists without merge key")
    original, patch, replaced_all = _apply_list_directives(original, patch, merge_key)
    if replaced_all:
        return original
    items = (field or {}).get("items")
    merged = list(original)
    for item in patch:
        key = _identity(item, merge_key)
        for position, existing in enumerate(merged):
            if _identity(existing, merge_key) == key:
                merged[position] = _merge_map(existing, item, items)
                break
        else:
            merged.append(_without_directives(item))
    wanted = [_identity(item, merge_key) for item in patch]
    return _in_order(merged, wanted, [_identity(item, merge_key) for item in original], merge_key)


def _apply_list_directives(
    original: list[Json], patch: list[Json], merge_key: str
) -> tuple[list[Json], list[Json], bool]:
    """Take items with `$patch` out of the patch: "delete" removes its match, "replace" makes the patch the result."""
    ordinary: list[Json] = []
    replace = False
    for item in patch:
        if not isinstance(item, dict):
            raise BadRequest(f"map: {item} does not contain declared merge key: {merge_key}")
        directive = item.get(_DIRECTIVE)
        if directive is None:
            ordinary.append(item)
        elif directive == "delete":
            gone = _identity(item, merge_key)
            original = [existing for existing in original if _identity(existing, merge_key) != gone]
        elif directive == "replace":
            replace = True
        elif directive == "merge":
            raise BadRequest("merging lists cannot yet be specified in the patch")
        else:
            raise BadRequest(f"unknown patch type: {directive} in map: {item}")
    if replace:
        return [_without_directives(item) for item in ordinary], [], True
    return original, ordinary, False


def _in_order(merged: list[Json], wanted: list[Json], server: list[Json], merge_key: str) -> list[Json]:
    """Items the patch names, in its order, woven together with the others, which keep the server's order.

    Where the server's list decides between the two, it does; else the patch's item comes first.
    """
    keyed = [(_identity(item, merge_key), item) for item in merged]
    named = sorted((pair for pair in keyed if pair[0] in wanted), key=lambda pair: wanted.index(pair[0]))
    others = [pair for pair in keyed if pair[0] not in wanted]
    others.sort(key=lambda pair: server.index(pair[0]) if pair[0] in server else len(server))
    result: list[Json] = []
    while named and others:
        left, right = others[0][0], named[0][0]
        left_first = left in server and right in server and server.index(left) < server.index(right)
        result.append((others if left_first else named).pop(0)[1])
    return result + [item for _, item in [*others, *named]]


def _without_directives(value: Json) -> Json:
    """A patch value that becomes part of the object as it is: directives and nulls in it have nothing to act on."""
    if isinstance(value, list):
        return [
            _without_directives(item)
            for item in value
            if not (isinstance(item, dict) and item.get(_DIRECTIVE) in ("delete", "replace"))
        ]
    if not isinstance(value, dict):
        return value
    if value.get(_DIRECTIVE) == "delete":
        return {}
    return {
        key: _without_directives(item)
        for key, item in value.items()
        if item is not None and key not in {_DIRECTIVE, _RETAIN} and not key.startswith((_ORDER, _DELETE))
    }
