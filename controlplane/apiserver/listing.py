"""Options and paging of lists and watches: what they mean and which combinations are refused. Pure.

Source: ValidateListOptions of k8s.io/apimachinery/pkg/apis/meta/internalversion/validation and
https://kubernetes.io/docs/reference/using-api/api-concepts/#semantics-for-get-and-list.
"""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass

import orjson

from controlplane.apiserver import refusals
from controlplane.apiserver.integers import parse_int64
from mesh.api.port import Request
from mesh.errors import BadRequest, Cause, Gone

_TOKEN_VERSION = "meta.k8s.io/v1"
_MOST_DIGITS = 20
INCONSISTENT = -1
"""The revision in a continue token that accepts whatever is there now."""


@dataclass(frozen=True, slots=True)
class ListOptions:
    """Of a list or a watch. `revision` is None when the client gave no resourceVersion (it wants the present)."""

    revision: int | None
    match: str
    limit: int
    continue_token: str
    bookmarks: bool
    send_initial_events: bool
    timeout_seconds: int


def options_of(request: Request, *, watch: bool) -> ListOptions:
    """Read and check a request's list options; raises `BadRequest` or `Invalid`."""
    sent = request.param("sendInitialEvents")
    options = ListOptions(
        revision=_revision(request.param("resourceVersion")),
        match=request.param("resourceVersionMatch"),
        limit=_integer(request, "limit"),
        continue_token=request.param("continue"),
        bookmarks=request.flag("allowWatchBookmarks"),
        send_initial_events=request.flag("sendInitialEvents"),
        timeout_seconds=_integer(request, "timeoutSeconds"),
    )
    causes = _watch_problems(options, sent) if watch else _list_problems(options, sent)
    if causes:
        raise refusals.bad_options("ListOptions", *causes)
    return options


def revision_number(text: str) -> int | None:
    """A resourceVersion as a number; None for what no server can have given (it is an unsigned 64-bit number)."""
    if not text.isascii() or not text.isdigit() or len(text) > _MOST_DIGITS:
        return None
    number = int(text)
    return number if number < 1 << 64 else None


def _revision(text: str) -> int | None:
    if not text:
        return None
    number = revision_number(text)
    if number is None:
        why = "value out of range" if text.isascii() and text.isdigit() else "invalid syntax"
        told = f'Invalid value: "{text}": strconv.ParseUint: parsing "{text}": {why}'
        raise refusals.bad_options("ListOptions", Cause("resourceVersion", "FieldValueInvalid", told))
    return number


def _integer(request: Request, name: str) -> int:
    text = request.param(name)
    if not text:
        return 0
    try:
        return max(0, parse_int64(text))
    except ValueError as error:
        raise BadRequest(f"{error} (query parameter {name})") from error


def _forbidden(field: str, message: str) -> Cause:
    return Cause(field, "FieldValueForbidden", f"Forbidden: {message}")


def _list_problems(options: ListOptions, sent: str) -> list[Cause]:
    causes = []
    if sent:
        causes.append(_forbidden("sendInitialEvents", "sendInitialEvents is forbidden for list"))
    if not options.match:
        return causes
    if options.revision is None:
        causes.append(
            _forbidden("resourceVersionMatch", "resourceVersionMatch is forbidden unless resourceVersion is provided")
        )
    if options.continue_token:
        causes.append(_forbidden("resourceVersionMatch", "resourceVersionMatch is forbidden when continue is provided"))
    if options.match not in {"Exact", "NotOlderThan"}:
        told = f'Unsupported value: "{options.match}": supported values: "Exact", "NotOlderThan", ""'
        causes.append(Cause("resourceVersionMatch", "FieldValueNotSupported", told))
    if options.match == "Exact" and options.revision == 0:
        told = 'resourceVersionMatch "exact" is forbidden for resourceVersion "0"'
        causes.append(_forbidden("resourceVersionMatch", told))
    return causes


def _watch_problems(options: ListOptions, sent: str) -> list[Cause]:
    causes = []
    if sent:
        if options.match != "NotOlderThan":
            told = "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan"
            causes.append(_forbidden("resourceVersionMatch", told))
    elif options.match:
        told = "resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided"
        causes.append(_forbidden("resourceVersionMatch", told))
    return causes


def make_token(revision: int, last_path: str) -> str:
    """The opaque token that continues a list behind `last_path`."""
    data = orjson.dumps({"v": _TOKEN_VERSION, "rv": revision, "start": last_path})
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def read_token(token: str) -> tuple[int, str]:
    """The revision and last path in a continue token; raises `BadRequest`."""
    try:
        data = orjson.loads(base64.urlsafe_b64decode(token + "=" * (-len(token) % 4)))
        if data["v"] != _TOKEN_VERSION:
            raise BadRequest("continue key is not valid: server does not recognize this encoded version")
        return int(data["rv"]), str(data["start"])
    except (binascii.Error, ValueError, KeyError, TypeError, OverflowError) as error:
        raise BadRequest("continue key is not valid: encoding is not a continue token of this server") from error


class ContinueExpired(Gone):
    """A list cannot be continued at its own revision; carries a token that continues it at the present."""

    def __init__(self, last_path: str) -> None:
        super().__init__(
            "The provided continue parameter is too old to display a consistent list result. You can start a new list "
            "without the continue parameter, or use the continue token in this response to retrieve the remainder of "
            "the results. Continuing with the provided token results in an inconsistent list - objects that were "
            "created, modified, or deleted between the time the first chunk was returned and now may show up in the "
            "list."
        )
        self._token = make_token(INCONSISTENT, last_path)

    def to_status(self) -> dict[str, object]:
        """The Status, with the token in its metadata."""
        return {**super().to_status(), "metadata": {"continue": self._token}}
