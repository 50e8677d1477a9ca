"""A pod's containers as values: what the runtime would show after each action. For tests of the pure planner."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

from agents.node import actions as do
from agents.node import backoff
from agents.node.observed import IMAGE_LABEL, Observed, Present
from agents.node.plan import plan
from agents.node.podspec import is_sidecar, place_of
from agents.node.ports import ContainerStatus, SandboxStatus, State
from mesh.objects.types import Object

T0 = datetime(2026, 1, 1, tzinfo=UTC)


def sandbox(number: int = 1, state: State = State.RUNNING) -> SandboxStatus:
    return SandboxStatus(f"s{number}", "u", state, number, f"/ns/{number}", T0 + timedelta(seconds=number))


def made(
    name: str = "a",
    state: State = State.RUNNING,
    *,
    attempt: int = 0,
    sandbox_id: str = "s1",
    code: int = 0,
    ran: float = 5,
    delay: int = 0,
    ended: datetime = T0,
    image: str = "web:1",
    **more: object,
) -> ContainerStatus:
    """A container; an exited one ended at `ended` after running `ran` seconds."""
    over = state is State.EXITED
    return ContainerStatus(
        id=f"{name}-{attempt}",
        sandbox_id=sandbox_id,
        pod_uid="u",
        name=name,
        attempt=attempt,
        state=state,
        image=image,
        image_id="sha256:1",
        created_at=T0,
        started_at=None if state is State.CREATED else (ended - timedelta(seconds=ran) if over else T0),
        finished_at=ended if over else None,
        exit_code=code,
        labels={backoff.DELAY_LABEL: str(delay), IMAGE_LABEL: image},
        **more,  # type: ignore[arg-type]
    )


@dataclass
class PodModel:
    """Applies a plan's actions to what is observed. Init containers that are no sidecars end well at once."""

    pod: Object
    now: datetime = T0
    observed: Observed = field(default_factory=lambda: Observed(started_at=T0))
    deleted: bool = False
    numbers: itertools.count[int] = field(default_factory=lambda: itertools.count(1))

    def next(self) -> do.PodPlan:
        return plan(self.pod, self.observed, self.now)

    def forget(self) -> None:
        """The agent starts anew: what only it knew is lost."""
        self.observed = replace(
            self.observed, images={}, failures={}, volumes_ready=False, addresses=(), finished=False
        )

    def apply(self, action: do.Action) -> None:
        seen = self.observed
        match action:
            case do.PrepareVolumes():
                self.observed = replace(seen, volumes_ready=True)
            case do.CreateSandbox():
                self.observed = replace(
                    seen, sandboxes=(*seen.sandboxes, sandbox(next(self.numbers))), addresses=("10.0.0.1",)
                )
            case do.WireSandbox():
                self.observed = replace(seen, addresses=("10.0.0.1",))
            case do.RemoveSandbox(sandbox_id=gone):
                self.observed = replace(seen, sandboxes=tuple(s for s in seen.sandboxes if s.id != gone), addresses=())
            case do.EnsureImage(container=name):
                self.observed = replace(seen, images={**seen.images, name: Present.READY})
            case do.StartContainer():
                self._start(action)
            case do.StopContainer(container_id=stopped):
                self._replace(stopped, state=State.EXITED, finished_at=self.now, exit_code=137)
            case do.RemoveContainer(container_id=gone):
                self.observed = replace(seen, containers=tuple(c for c in seen.containers if c.id != gone))
            case do.TearDown():
                self.observed = replace(seen, finished=True, volumes_ready=False)
            case do.DeletePod():
                self.deleted = True

    def _start(self, action: do.StartContainer) -> None:
        place = place_of(self.pod, action.container)
        assert place is not None
        ends = place.list_field == "initContainers" and not is_sidecar(place.container)
        new = made(
            action.container,
            State.EXITED if ends else State.RUNNING,
            attempt=action.attempt,
            sandbox_id=action.sandbox_id,
            delay=int(action.delay_label),
            ended=self.now,
        )
        others = tuple(c for c in self.observed.containers if c.id != new.id)
        images = {n: i for n, i in self.observed.images.items() if n != action.container}
        self.observed = replace(self.observed, containers=(*others, new), images=images)

    def _replace(self, container_id: str, **changes: object) -> None:
        self.observed = replace(
            self.observed,
            containers=tuple(
                replace(c, **changes) if c.id == container_id else c  # type: ignore[arg-type]
                for c in self.observed.containers
            ),
        )

    def converge(self, most: int = 30) -> list[do.Action]:
        """Plan and apply until nothing is left to do."""
        done: list[do.Action] = []
        for _ in range(most):
            chosen = self.next()
            if not chosen.actions or self.deleted:
                return done
            for action in chosen.actions:
                self.apply(action)
                done.append(action)
        raise AssertionError(f"still busy: {[str(a) for a in done[-10:]]}")
