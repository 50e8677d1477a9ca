"""What to do next for one pod: `plan(pod, observed, now)`, the pure heart of the pod worker.

Level-triggered: it may be interrupted after any action and started again from whatever state that left. The order is
volumes, sandbox, address, init containers, app containers; and back again when the pod has to end.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from agents.node.actions import CreateSandbox, PodPlan, PrepareVolumes, RemoveSandbox, WireSandbox
from agents.node.observed import Observed
from agents.node.plan_containers import plan_containers
from agents.node.plan_steps import Steps
from agents.node.plan_termination import deadline, must_end, plan_termination
from agents.node.podspec import host_network
from mesh.objects.types import Object

HELD_LOOK = timedelta(seconds=1)
"""How often a pod that is held back because of the fence looks whether it may start."""


def plan(pod: Object, observed: Observed, now: datetime, *, gone: bool = False) -> PodPlan:
    """The next actions for `pod`. `gone`: the API no longer has it, so there is nobody to report to."""
    sandbox = observed.sandbox
    wired = sandbox is not None and (host_network(pod) or bool(observed.addresses))
    steps = Steps(pod, observed, now, ready=wired and observed.volumes_ready and not observed.held)
    if must_end(pod, observed, now, gone=gone):
        plan_termination(steps, gone=gone)
        return steps.finish()
    steps.wake(deadline(pod, observed))
    if observed.held:
        steps.wake(now + HELD_LOOK)
    _prepare(steps, wired=wired)
    plan_containers(steps)
    return steps.finish()


def _prepare(steps: Steps, *, wired: bool) -> None:
    """Volumes, sandbox and address. After a failure they wait, while images may already be fetched."""
    observed = steps.observed
    sandbox = observed.sandbox
    others = [s for s in observed.sandboxes if sandbox is None or s.id != sandbox.id]
    for old in others:
        steps.add(RemoveSandbox(old.id))
    failure = observed.pod_failure
    if failure is not None and steps.now < failure.retry_at:
        steps.wake(failure.retry_at)
        return
    if not observed.volumes_ready:
        steps.add(PrepareVolumes())
    if sandbox is None:
        steps.add(CreateSandbox(changed=bool(others)))
    elif not wired:
        steps.add(WireSandbox(sandbox.id))
