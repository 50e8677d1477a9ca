"""From a request body to an object of the expected kind: decoding, field validation, agreement with the URL. Pure.

Source: the create and update handlers of k8s.io/apiserver/pkg/endpoints/handlers.
"""

from __future__ import annotations

import re

from controlplane.apiserver import refusals
from controlplane.apiserver.decode import decode
from controlplane.apiserver.routes import Route
from mesh.api.port import Request
from mesh.errors import BadRequest, Cause
from mesh.objects import schema
from mesh.objects.kinds import Resource
from mesh.objects.patch import conform_patched
from mesh.objects.types import Object

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_WARNINGS, _WARNING = 4096, 256
"""Characters of all warnings together before they are cut, and of each when they are."""
_VALIDATIONS = ("Ignore", "Strict", "Warn")


def read(request: Request, api_version: str, kind: str) -> tuple[Object, list[str]]:
    """The object in the body, in the shape of `kind`, and warnings about fields that are ignored.

    A body without apiVersion and kind is taken to be of the expected one. Raises `BadRequest`, for
    `fieldValidation=Strict` also for unknown fields and fields given twice.
    """
    obj, problems = decode(request.body, request.content_type)
    given_version = obj["apiVersion"] = obj.get("apiVersion") or api_version
    given_kind = obj["kind"] = obj.get("kind") or kind
    if not isinstance(given_kind, str) or not isinstance(given_version, str):
        raise BadRequest("couldn't get version/kind; json parse error: apiVersion and kind have to be strings")
    if given_kind != kind:
        raise BadRequest(f'{given_kind} in version "{given_version}" cannot be handled as a {kind}: the kinds differ')
    if given_version != api_version:
        raise BadRequest(
            f"the API version in the data ({given_version}) does not match the expected API version ({api_version})"
        )
    validation = validation_of(request)
    found = problems + schema.conform(obj, api_version, kind)
    if found and validation == "Strict":
        raise schema.strict_error(api_version, kind, found)
    return obj, found if validation == "Warn" else []


def check_patched(request: Request, obj: Object, resource: Resource) -> list[str]:
    """Bring a patched object into shape, in place; the warnings about fields that had to go."""
    validation = validation_of(request)
    found = conform_patched(obj, resource.api_version, resource.kind, strict=validation == "Strict")
    return found if validation == "Warn" else []


def validation_of(request: Request) -> str:
    """`fieldValidation`: Ignore, Strict or Warn, which is the default; raises `Invalid`."""
    validation = request.param("fieldValidation") or "Warn"
    if validation not in _VALIDATIONS:
        supported = ", ".join(f'"{v}"' for v in _VALIDATIONS)
        told = f'Unsupported value: "{validation}": supported values: {supported}'
        raise refusals.bad_options("CreateOptions", Cause("fieldValidation", "FieldValueNotSupported", told))
    return validation


def match_namespace(obj: Object, route: Route) -> None:
    """Fill in the namespace of the URL; raises `BadRequest` when the object names another."""
    metadata = obj.setdefault("metadata", {})
    namespace = metadata.get("namespace") or ""
    if not route.resource.namespaced:
        if not namespace:
            metadata.pop("namespace", None)
        return
    if namespace and namespace != route.namespace:
        raise BadRequest(
            f"the namespace of the provided object does not match the namespace sent on the request: "
            f"{namespace} != {route.namespace}"
        )
    metadata["namespace"] = route.namespace


def match_name(obj: Object, route: Route) -> None:
    """Fill in the name of the URL; raises `BadRequest` when the object names another."""
    metadata = obj.setdefault("metadata", {})
    name = metadata.get("name") or ""
    if name and name != route.name:
        raise BadRequest(f"the name of the object ({name}) does not match the name on the URL ({route.name})")
    metadata["name"] = route.name


def warning_headers(warnings: list[str]) -> tuple[tuple[str, str], ...]:
    """`Warning` headers (RFC 7234, code 299) that kubectl prints: each sentence once, none with control characters, and
    what is too much for a header left out. Source: k8s.io/apiserver/pkg/endpoints/filters/warning.go."""
    texts = [w for w in dict.fromkeys(warnings) if not _CONTROL.search(w)]
    if sum(map(len, texts)) > _WARNINGS:
        texts = [text[:_WARNING] for text in texts][: _WARNINGS // _WARNING]
    quoted = (text.replace("\\", "\\\\").replace('"', '\\"') for text in texts)
    return tuple(("Warning", f'299 - "{text}"') for text in quoted)
