"""The three-way merge of `covey apply`: what was last applied, what is applied now, and what is there. Pure.

Fields that were applied before and no longer are go; fields applied now are set; everything else stays as it is. Lists
follow their schema: with a merge key item by item, as sets, or as one value. The last applied manifest is kept in the
annotation that kubectl uses, so that both can be mixed.
Source: kubernetes.io/docs "Declarative Management of Kubernetes Objects Using Configuration Files".
"""

from __future__ import annotations

import orjson

from mesh.objects.definitions import definition_of, definitions
from mesh.objects.meta import thaw
from mesh.objects.types import Json, Object

LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"


def with_last_applied(manifest: Object) -> Object:
    """A copy of the manifest that carries itself in the annotation."""
    result: Object = thaw(manifest)
    annotations = result["metadata"].setdefault("annotations", {})
    annotations.pop(LAST_APPLIED, None)
    text = orjson.dumps(result, option=orjson.OPT_SORT_KEYS).decode() + "\n"
    annotations[LAST_APPLIED] = text
    return result


def last_applied(live: Object) -> Object | None:
    """The manifest that was applied last, or None when the object was never applied. ValueError when somebody wrote
    something else there."""
    text = (live["metadata"].get("annotations") or {}).get(LAST_APPLIED)
    found = orjson.loads(text) if text else None
    if found is not None and not isinstance(found, dict):
        raise ValueError(f"it holds a {type(found).__name__}, not an object")
    return found


def merge(last: Object, new: Object, live: Object) -> Object:
    """`live` as it should become; equal to it when there is nothing to do."""
    name = definition_of(str(new["apiVersion"]), str(new["kind"]))
    return _merge_map(last, new, live, {"$ref": name} if name else None)


def _merge_map(last: Object, new: Object, live: Object, schema: Object | None) -> Object:
    result = {key: value for key, value in live.items() if key in new or key not in last}
    for key, value in new.items():
        result[key] = _merge_value(last.get(key), value, live.get(key), _field(schema, key))
    return {key: value for key, value in result.items() if value is not None}


def _merge_value(last: Json, new: Json, live: Json, schema: Object | None) -> Json:
    if isinstance(new, dict) and isinstance(live, dict):
        if "replace" in _strategies(schema):
            return new
        return _merge_map(last if isinstance(last, dict) else {}, new, live, schema)
    if isinstance(new, list) and isinstance(live, list) and "merge" in _strategies(schema):
        key = (schema or {}).get("x-kubernetes-patch-merge-key")
        before = last if isinstance(last, list) else []
        return _merge_items(before, new, live, key, schema) if key else _merge_set(before, new, live)
    return new


def _merge_items(last: list[Json], new: list[Json], live: list[Json], key: str, schema: Object | None) -> list[Json]:
    """Items by their key: those applied come first, in the order applied; those of others stay behind them."""
    if not all(isinstance(item, dict) and isinstance(item.get(key), str | int) for item in (*last, *new, *live)):
        return new  # whatever is wrong with it, the server says it best
    item_schema = (schema or {}).get("items")
    before, there = {item[key]: item for item in last}, {item[key]: item for item in live}
    wanted = {item[key] for item in new}
    merged = [_merge_map(before.get(i[key], {}), i, there[i[key]], item_schema) if i[key] in there else i for i in new]
    return merged + [item for item in live if item[key] not in wanted and item[key] not in before]


def _merge_set(last: list[Json], new: list[Json], live: list[Json]) -> list[Json]:
    return new + [value for value in live if value not in new and value not in last]


def _field(schema: Object | None, key: str) -> Object | None:
    resolved = _resolve(schema)
    found: Object | None = (resolved.get("properties") or {}).get(key) or resolved.get("additionalProperties") or None
    return found if isinstance(found, dict) else None


def _resolve(schema: Object | None) -> Object:
    if schema and "$ref" in schema:
        return definitions()[schema["$ref"]]
    return schema or {}


def _strategies(schema: Object | None) -> list[str]:
    return str((schema or {}).get("x-kubernetes-patch-strategy", "")).split(",")
