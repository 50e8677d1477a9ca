"""Secrets: typed data, at most 1 MiB, and no change once immutable. `stringData` becomes `data` on writing."""

from __future__ import annotations

import base64
import json

from controlplane.apiserver.strategies import causes
from controlplane.apiserver.strategies.configmaps import MAX_BYTES, decoded_size, validate_immutable
from controlplane.apiserver.strategies.strategy import Strategy, UpdateRule
from mesh.errors import Cause
from mesh.objects import kinds, names
from mesh.objects.types import Object

_REDACTED = "<secret contents redacted>"
_ACCOUNT_ANNOTATION = "kubernetes.io/service-account.name"
_JSON_KEYS = {"kubernetes.io/dockercfg": ".dockercfg", "kubernetes.io/dockerconfigjson": ".dockerconfigjson"}
_REQUIRED_KEYS = {"kubernetes.io/ssh-auth": ("ssh-privatekey",), "kubernetes.io/tls": ("tls.crt", "tls.key")}


def _default(secret: Object) -> None:
    secret["type"] = secret.get("type") or "Opaque"
    if plain := secret.pop("stringData", None):
        data = secret.setdefault("data", {})
        data.update({key: base64.b64encode(value.encode()).decode() for key, value in plain.items()})


def _validate(secret: Object) -> list[Cause]:
    data = secret.get("data") or {}
    found = [cause for key in data for cause in causes.each(causes.key("data", key), key, names.config_key(key))]
    if sum(decoded_size(value) for value in data.values()) > MAX_BYTES:
        found.append(causes.too_long("data", MAX_BYTES))
    return found + _validate_type(secret, data)


def _validate_type(secret: Object, data: Object) -> list[Cause]:
    kind = secret.get("type", "")
    if kind == "kubernetes.io/service-account-token":
        annotations = secret["metadata"].get("annotations") or {}
        at = causes.key("metadata.annotations", _ACCOUNT_ANNOTATION)
        return [] if annotations.get(_ACCOUNT_ANNOTATION) else [causes.required(at)]
    if kind == "kubernetes.io/basic-auth":
        if "username" in data or "password" in data:
            return []
        return [causes.required("data[username]"), causes.required("data[password]")]
    if key := _JSON_KEYS.get(kind):
        return _validate_json(data, key)
    return [causes.required(causes.key("data", key)) for key in _REQUIRED_KEYS.get(kind, ()) if key not in data]


def _validate_json(data: Object, key: str) -> list[Cause]:
    if key not in data:
        return [causes.required(causes.key("data", key))]
    try:
        json.loads(base64.b64decode(data[key]))
    except ValueError as error:
        # The sentence says where the JSON breaks off, never what it holds.
        return [causes.invalid(causes.key("data", key), _REDACTED, str(error))]
    return []


def _prepare_update(new: Object, old: Object) -> None:
    new["type"] = new.get("type") or old.get("type")


def _validate_update(new: Object, old: Object) -> list[Cause]:
    found = causes.immutable("type", new.get("type"), old.get("type"))
    return found + validate_immutable(new, old, ("data",)) + _validate(new)


STRATEGY = Strategy(
    resource=kinds.SECRETS,
    default=_default,
    validate=_validate,
    updates={"": UpdateRule(prepare=_prepare_update, validate=_validate_update)},
    fields={"type": lambda secret: str(secret.get("type", ""))},
)
