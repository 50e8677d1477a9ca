"""The refusals of the API in Kubernetes' words, as errors ready to raise.

Source: k8s.io/apimachinery/pkg/api/errors. Pure: words only.
"""

from __future__ import annotations

from mesh.errors import (
    AlreadyExists,
    ApiError,
    BadRequest,
    Cause,
    Conflict,
    Forbidden,
    Gone,
    Invalid,
    MethodNotAllowed,
    NotFound,
    RequestTooLarge,
    Timeout,
    UnsupportedMediaType,
)
from mesh.objects.kinds import Resource

MODIFIED = "the object has been modified; please apply your changes to the latest version and try again"


def not_found(resource: Resource, name: str) -> NotFound:
    """`pods "x" not found`."""
    return NotFound(f'{resource.qualified} "{name}" not found', name=name, group=resource.group, kind=resource.plural)


def no_such_resource() -> NotFound:
    """A path below /api or /apis that names nothing the server knows."""
    return NotFound("the server could not find the requested resource")


def already_exists(resource: Resource, name: str) -> AlreadyExists:
    """`pods "x" already exists`."""
    return AlreadyExists(
        f'{resource.qualified} "{name}" already exists', name=name, group=resource.group, kind=resource.plural
    )


def name_taken(resource: Resource, name: str) -> AlreadyExists:
    """Every generated name that was tried exists already."""
    return AlreadyExists(
        f'{resource.qualified} "{name}" already exists, the server was not able to generate a unique name for the '
        "object",
        name=name,
        group=resource.group,
        kind=resource.plural,
        retry_after_seconds=1,
    )


def conflict(resource: Resource, name: str, why: str = MODIFIED) -> Conflict:
    """`Operation cannot be fulfilled on pods "x": ...`."""
    return Conflict(
        f'Operation cannot be fulfilled on {resource.qualified} "{name}": {why}',
        name=name,
        group=resource.group,
        kind=resource.plural,
    )


def precondition(resource: Resource, name: str, what: str, expected: str, found: str) -> Conflict:
    """A UID or resourceVersion precondition that does not hold; `what` is "UID" or "ResourceVersion"."""
    return conflict(
        resource, name, f"Precondition failed: {what} in precondition: {expected}, {what} in object meta: {found}"
    )


def forbidden(resource: Resource, name: str, why: str, causes: tuple[Cause, ...] = ()) -> Forbidden:
    """`pods "x" is forbidden: ...`."""
    subject = f'{resource.qualified} "{name}"' if name else resource.qualified
    return Forbidden(
        f"{subject} is forbidden: {why}", name=name, group=resource.group, kind=resource.plural, causes=causes
    )


def method_not_supported(resource: Resource, verb: str) -> MethodNotAllowed:
    """The resource exists, but cannot do this."""
    return MethodNotAllowed(
        f'{verb} is not supported on resources of kind "{resource.qualified}"',
        group=resource.group,
        kind=resource.plural,
    )


def bad_options(kind: str, *causes: Cause) -> Invalid:
    """Query options (ListOptions, DeleteOptions, ...) that contradict each other."""
    sentences = [f"{c.field}: {c.message}" for c in causes]
    told = sentences[0] if len(sentences) == 1 else f"[{', '.join(sentences)}]"
    return Invalid(f'{kind} "" is invalid: {told}', kind=kind, group="meta.k8s.io", causes=causes)


def too_old(asked: int, oldest: int) -> Gone:
    """A watch from a revision that the ring no longer holds."""
    return Gone(f"too old resource version: {asked} ({oldest})")


def too_new(asked: int, current: int) -> ApiError:
    """A read at a revision that the cache has not reached within its patience."""
    message = f"Too large resource version: {asked}, current: {current}"
    return Timeout(
        f"Timeout: {message}",
        causes=[Cause("", "ResourceVersionTooLarge", "Too large resource version")],
        retry_after_seconds=1,
    )


def too_large(what: str, size: int, limit: int) -> RequestTooLarge:
    """A body or an object over its limit, both in bytes."""
    return RequestTooLarge(f"{what} is too large: {size} bytes, limit is {limit} bytes ({limit / (1 << 20):g} MiB)")


def unsupported_media_type(accepted: tuple[str, ...]) -> UnsupportedMediaType:
    """A body in a format that this endpoint does not read."""
    told = "the body of the request was in an unknown format - accepted media types include: "
    return UnsupportedMediaType(told + ", ".join(accepted))


def bad_parameter(name: str, value: str, expected: str) -> BadRequest:
    """A query parameter that cannot be read."""
    return BadRequest(f"invalid value {value!r} for the query parameter {name!r}: {expected}")
