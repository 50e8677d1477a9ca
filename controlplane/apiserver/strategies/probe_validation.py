"""Validation of probes and lifecycle handlers: exactly one handler, sensible numbers."""

from __future__ import annotations

from controlplane.apiserver.strategies import causes
from mesh.errors import Cause
from mesh.objects import names
from mesh.objects.types import Json, Object

NEGATIVE = "must be greater than or equal to 0"

_HANDLERS = ("exec", "httpGet", "tcpSocket", "grpc", "sleep")
_NUMBERS = ("initialDelaySeconds", "timeoutSeconds", "periodSeconds", "successThreshold", "failureThreshold")


def non_negative(value: int | None, path: str) -> list[Cause]:
    """A cause when the number is below zero."""
    return [causes.invalid(path, value, NEGATIVE)] if value is not None and value < 0 else []


def validate_port(port: Json, path: str) -> list[Cause]:
    """A port number, or the name of a container port."""
    if isinstance(port, str):
        return causes.each(path, port, names.port_name(port))
    return causes.each(path, port, names.port_number(port))


def validate_probe(probe: Object, kind: str, path: str) -> list[Cause]:
    """A liveness, readiness or startup probe; `kind` is the name of its field."""
    found = validate_handler(probe, None, path)
    for field in _NUMBERS:
        found += non_negative(probe.get(field), f"{path}.{field}")
    grace = probe.get("terminationGracePeriodSeconds")
    if grace is not None and grace <= 0:
        found.append(causes.invalid(f"{path}.terminationGracePeriodSeconds", grace, "must be greater than 0"))
    if kind == "readinessProbe":
        if grace is not None:
            sentence = "must not be set for readinessProbes"
            found.append(causes.invalid(f"{path}.terminationGracePeriodSeconds", grace, sentence))
    elif probe.get("successThreshold") != 1:
        found.append(causes.invalid(f"{path}.successThreshold", probe.get("successThreshold", 0), "must be 1"))
    return found


def validate_lifecycle(lifecycle: Object, grace_period: int | None, path: str) -> list[Cause]:
    """The handlers that run after start and before stop."""
    found: list[Cause] = []
    for hook in ("postStart", "preStop"):
        if hook in lifecycle:
            found += validate_handler(lifecycle[hook], grace_period, f"{path}.{hook}")
    return found


def validate_handler(handler: Object, grace_period: int | None, path: str) -> list[Cause]:
    """Exactly one of the handlers, and that one in order."""
    given = [kind for kind in _HANDLERS if kind in handler]
    if not given:
        return [causes.required(path, "must specify a handler type")]
    found = _validate_action(given[0], handler[given[0]], grace_period, f"{path}.{given[0]}")
    return found + [
        causes.forbidden(f"{path}.{kind}", "may not specify more than 1 handler type") for kind in given[1:]
    ]


def _validate_action(kind: str, action: Object, grace_period: int | None, path: str) -> list[Cause]:
    match kind:
        case "exec":
            return [] if action.get("command") else [causes.required(f"{path}.command")]
        case "httpGet":
            return _validate_http_get(action, path)
        case "sleep":
            seconds = action.get("seconds", 0)
            if grace_period is not None and not 0 <= seconds <= grace_period:
                sentence = f"must be non-negative and less than terminationGracePeriodSeconds ({grace_period})"
                return [causes.invalid(path, seconds, sentence)]
            return []
        case _:
            return validate_port(action.get("port", 0), f"{path}.port")


def _validate_http_get(action: Object, path: str) -> list[Cause]:
    found: list[Cause] = []
    if not action.get("path"):
        found.append(causes.required(f"{path}.path"))
    found += validate_port(action.get("port", 0), f"{path}.port")
    if action.get("scheme") not in {"HTTP", "HTTPS"}:
        found.append(causes.unsupported(f"{path}.scheme", action.get("scheme", ""), ("HTTP", "HTTPS")))
    for header in action.get("httpHeaders") or ():
        name = header.get("name", "")
        found += causes.each(f"{path}.httpHeaders", name, names.http_header(name))
    return found
