"""Probes as a state machine: results in, started/ready/failed out. Thresholds as Kubernetes documents them.

https://kubernetes.io/docs/concepts/configuration/liveness-readiness-startup-probes/. Pure.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from agents.node.observed import Health
from mesh.objects.types import Object

KINDS = ("startup", "liveness", "readiness")


@dataclass(frozen=True, slots=True)
class ProbeSpec:
    """The numbers of one probe, with Kubernetes' defaults. Times in seconds."""

    initial_delay: int = 0
    timeout: int = 1
    period: int = 10
    success_threshold: int = 1
    failure_threshold: int = 3
    grace_seconds: int | None = None

    @staticmethod
    def of(probe: Object) -> ProbeSpec:
        """The numbers in a Probe object."""
        grace = probe.get("terminationGracePeriodSeconds")
        return ProbeSpec(
            initial_delay=int(probe.get("initialDelaySeconds") or 0),
            timeout=int(probe.get("timeoutSeconds") or 1),
            period=int(probe.get("periodSeconds") or 10),
            success_threshold=int(probe.get("successThreshold") or 1),
            failure_threshold=int(probe.get("failureThreshold") or 3),
            grace_seconds=None if grace is None else int(grace),
        )


@dataclass(frozen=True, slots=True)
class Streak:
    """Results of one probe: the last one, how often in a row, and the verdict (None: none yet)."""

    passed: bool = False
    count: int = 0
    verdict: bool | None = None


def observe(streak: Streak, spec: ProbeSpec, *, passed: bool) -> Streak:
    """One more result. The verdict changes once as many equal results in a row as the threshold asks for are in."""
    count = streak.count + 1 if streak.passed == passed else 1
    needed = spec.success_threshold if passed else spec.failure_threshold
    verdict = passed if count >= needed else streak.verdict
    return Streak(passed, count, verdict)


def initial_health(container: Object) -> Health:
    """Before any probe has spoken: not started if it has a startup probe, not ready if it has a readiness probe."""
    started = "startupProbe" not in container
    return Health(started=started, ready=started and "readinessProbe" not in container)


def health_after(health: Health, kind: str, streak: Streak, spec: ProbeSpec, container: Object) -> Health:
    """The container's health once probe `kind` has reached `streak`."""
    if streak.verdict is None:
        return health
    if kind == "readiness":
        return replace(health, ready=streak.verdict)
    if not streak.verdict:
        return replace(health, failed=kind, grace_seconds=spec.grace_seconds)
    if kind == "startup" and not health.started:
        return replace(health, started=True, ready="readinessProbe" not in container)
    return health


def may_run(health: Health, kind: str) -> bool:
    """The startup probe runs until it has passed, the others only afterwards; none after the container was given up."""
    if health.failed:
        return False
    return not health.started if kind == "startup" else health.started
