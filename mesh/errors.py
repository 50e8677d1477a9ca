"""The closed error taxonomy of Covey, raised at the edges and shown to users as Kubernetes `Status` objects.

Every error a client can cause is an `ApiError` with the HTTP code and the machine-readable reason that Kubernetes
documents (https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/status/). `Unavailable` is the one
that callers may retry without having learned anything; `Terminal` ends the process that meets it.
No I/O may enter here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar


class CoveyError(Exception):
    """Base of all errors that Covey raises on purpose."""


class Terminal(CoveyError):
    """The process cannot go on: the message says what is wrong, where, and what the operator can do."""


@dataclass(frozen=True, slots=True)
class Cause:
    """One reason inside an `Invalid` status: which field, which kind of mistake, and the sentence about it."""

    field: str
    reason: str
    message: str


class ApiError(CoveyError):
    """A refusal by the API, convertible to and from a `Status` object; subclasses fix `code` and `reason`."""

    code: ClassVar[int] = 500
    reason: ClassVar[str] = "InternalError"

    def __init__(
        self,
        message: str,
        *,
        name: str = "",
        group: str = "",
        kind: str = "",
        uid: str = "",
        causes: Sequence[Cause] = (),
        retry_after_seconds: int = 0,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.name = name
        self.group = group
        self.kind = kind
        self.uid = uid
        self.causes = tuple(causes)
        self.retry_after_seconds = retry_after_seconds

    def to_status(self) -> dict[str, Any]:
        """The `v1.Status` object for this error, as a client of the API receives it."""
        names = {"name": self.name, "group": self.group, "kind": self.kind, "uid": self.uid}
        details: dict[str, Any] = {field: value for field, value in names.items() if value}
        if self.causes:
            details["causes"] = [{"reason": c.reason, "message": c.message, "field": c.field} for c in self.causes]
        if self.retry_after_seconds:
            details["retryAfterSeconds"] = self.retry_after_seconds
        status: dict[str, Any] = {
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Failure",
            "message": self.message,
            "reason": self.reason,
            "code": self.code,
        }
        if details:
            status["details"] = details
        return status


class BadRequest(ApiError):
    """The request cannot be understood: not JSON or YAML, wrong types, unknown fields, bad parameters."""

    code = 400
    reason = "BadRequest"


class Unauthorized(ApiError):
    """The caller did not prove an identity."""

    code = 401
    reason = "Unauthorized"


class Forbidden(ApiError):
    """The caller is known but may not do this."""

    code = 403
    reason = "Forbidden"


class NotFound(ApiError):
    """No such object, resource or path."""

    code = 404
    reason = "NotFound"


class MethodNotAllowed(ApiError):
    """The resource does not support this verb."""

    code = 405
    reason = "MethodNotAllowed"


class NotAcceptable(ApiError):
    """None of the media types the client accepts can be produced."""

    code = 406
    reason = "NotAcceptable"


class AlreadyExists(ApiError):
    """An object of that name exists."""

    code = 409
    reason = "AlreadyExists"


class Conflict(ApiError):
    """The object changed since the caller read it, or its state forbids the operation now."""

    code = 409
    reason = "Conflict"


class Gone(ApiError):
    """The resourceVersion asked for is too old to be served ("Expired")."""

    code = 410
    reason = "Expired"


class RequestTooLarge(ApiError):
    """A body or an object is over the limit; the message says which limit."""

    code = 413
    reason = "RequestEntityTooLarge"


class UnsupportedMediaType(ApiError):
    """The body's content type is none that the endpoint reads."""

    code = 415
    reason = "UnsupportedMediaType"


class Invalid(ApiError):
    """The object is well-formed but breaks the rules of its kind; `causes` name each field."""

    code = 422
    reason = "Invalid"


class TooManyRequests(ApiError):
    """Ask again later."""

    code = 429
    reason = "TooManyRequests"


class InternalError(ApiError):
    """A fault of ours: always logged with its cause."""

    code = 500
    reason = "InternalError"


class Unavailable(ApiError):
    """Store, bus or peer did not answer: whether the request took effect is unknown; retry."""

    code = 503
    reason = "ServiceUnavailable"


class Timeout(ApiError):
    """The server gave up waiting; retry with a longer time."""

    code = 504
    reason = "Timeout"


_TYPES: dict[tuple[int, str], type[ApiError]] = {
    (t.code, t.reason): t
    for t in (
        BadRequest, Unauthorized, Forbidden, NotFound, MethodNotAllowed, NotAcceptable, AlreadyExists, Conflict, Gone,
        RequestTooLarge, UnsupportedMediaType, Invalid, TooManyRequests, InternalError, Unavailable, Timeout,
    )
}  # fmt: skip
_BY_CODE: dict[int, type[ApiError]] = {t.code: t for t in reversed(_TYPES.values()) if t is not AlreadyExists}


def from_status(status: dict[str, Any]) -> ApiError:
    """The error a `v1.Status` object stands for; an unknown code becomes `InternalError` with the same message."""
    details = status.get("details") or {}
    code = int(status.get("code") or 500)
    kind = _TYPES.get((code, status.get("reason", ""))) or _BY_CODE.get(code, InternalError)
    return kind(
        str(status.get("message", "")),
        name=details.get("name", ""),
        group=details.get("group", ""),
        kind=details.get("kind", ""),
        uid=details.get("uid", ""),
        causes=[
            Cause(c.get("field", ""), c.get("reason", ""), c.get("message", "")) for c in details.get("causes") or ()
        ],
        retry_after_seconds=int(details.get("retryAfterSeconds") or 0),
    )
