"""PATCH bodies: which kinds there are, and what they make of an object. Pure.

Source: k8s.io/apiserver/pkg/endpoints/handlers/patch.go.
"""

from __future__ import annotations

from dataclasses import dataclass

from controlplane.apiserver import refusals
from controlplane.apiserver.decode import decode_json
from mesh.api.port import APPLY_PATCH, JSON_PATCH, MERGE_PATCH, STRATEGIC_MERGE_PATCH, Request
from mesh.errors import BadRequest, UnsupportedMediaType
from mesh.objects import patch as patches
from mesh.objects import strategic
from mesh.objects.kinds import Resource
from mesh.objects.types import Json, Object

_ACCEPTED = (JSON_PATCH, MERGE_PATCH, STRATEGIC_MERGE_PATCH)
MAX_OPERATIONS = 10_000


@dataclass(frozen=True, slots=True)
class PatchBody:
    """A decoded patch and its media type."""

    type: str
    value: Json


def read(request: Request) -> PatchBody:
    """The patch in the body; raises `UnsupportedMediaType` or `BadRequest`."""
    media = request.content_type.partition(";")[0].strip()
    if media in {APPLY_PATCH, "application/apply-patch+cbor"}:
        raise UnsupportedMediaType(
            "server-side apply is not supported by this server yet: use client-side apply (kubectl apply without "
            "--server-side) or one of the patch types " + ", ".join(_ACCEPTED)
        )
    if media not in _ACCEPTED:
        raise refusals.unsupported_media_type(_ACCEPTED)
    value = decode_json(request.body)
    if media == JSON_PATCH:
        if not isinstance(value, list):
            raise BadRequest(
                "error decoding patch: json: cannot unmarshal object into Go value of type jsonpatch.Patch"
            )
        if len(value) > MAX_OPERATIONS:
            raise BadRequest(f"The allowed maximum operations in a JSON patch is {MAX_OPERATIONS}, got {len(value)}")
    elif not isinstance(value, dict):
        raise BadRequest("error decoding patch: the patch has to be a JSON object")
    return PatchBody(media, value)


def apply(patch: PatchBody, obj: Object, resource: Resource) -> Object:
    """A new object: `obj`, which is left as it is, with the patch applied."""
    if patch.type == JSON_PATCH:
        return patches.json_patch(obj, patch.value)
    if patch.type == MERGE_PATCH:
        return patches.merge_patch(obj, patch.value)
    return strategic.strategic_merge_patch(obj, patch.value, resource.api_version, resource.kind)
