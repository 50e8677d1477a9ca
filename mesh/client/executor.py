"""Carries out the actions of a plan through the Client, and says how it went.

The only place where controllers' writes happen. What an error means for the key is decided here, once, for all
controllers; whoever asked with `about` gets the events that Kubernetes' controllers record.
"""

from __future__ import annotations

import asyncio
import enum
import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from mesh.client.client import Client
from mesh.client.events import EventRecorder
from mesh.errors import (
    AlreadyExists,
    ApiError,
    BadRequest,
    Conflict,
    Invalid,
    MethodNotAllowed,
    NotFound,
    RequestTooLarge,
)
from mesh.objects.kinds import EVENTS, Resource
from mesh.objects.meta import Key, name_of
from mesh.objects.types import Object
from mesh.plan.actions import Action, Create, Delete, DeleteCollection, Patch, Plan, Record, Update
from mesh.plan.controller import Failure
from mesh.turns import Turns

log = logging.getLogger(__name__)


class Outcome(enum.IntEnum):
    """How a plan went for its key, from best to worst."""

    DONE = 0
    """Everything took effect."""
    RETRY = 1
    """The plan was made from a stale view: plan again once the caches have caught up."""
    RETRY_LATER = 2
    """Refused or unanswered for a reason that may pass: back off."""
    FATAL = 3
    """The API will refuse it again for as long as nothing changes."""


_STALE = (Conflict, AlreadyExists, NotFound)
_HOPELESS = (Invalid, BadRequest, MethodNotAllowed, RequestTooLarge)


@dataclass(slots=True)
class Result:
    """What came of a plan.

    `revisions` are, for each resource written, the highest revision of our own writes, and `deleted` the objects that
    were deleted without a revision being named: what the caches must have seen before the key runs again.
    """

    outcome: Outcome = Outcome.DONE
    failure: Failure | None = None
    revisions: dict[Resource, int] = field(default_factory=dict)
    deleted: list[tuple[Resource, Key, str]] = field(default_factory=list)

    def wrote(self, resource: Resource, answer: Object) -> None:
        """Note the revision in the API's answer to a write."""
        revision = int((answer.get("metadata") or {}).get("resourceVersion") or 0)
        # Events have a counter of their own, and no controller waits for them.
        if resource is not EVENTS:
            self.revisions[resource] = max(self.revisions.get(resource, 0), revision)

    def failed(self, action: Action, error: ApiError) -> None:
        """Note a refusal; the worst outcome stands, with the first failure of its rank."""
        outcome = _outcome(action, error)
        if outcome > self.outcome:
            self.outcome = outcome
            self.failure = Failure(action, error.message)


class Executor:
    """Carries out plans; one for each controller, whose events it records. `writing` bounds the writes under way,
    and `turns` spreads their beginnings; both are shared with the other controllers."""

    def __init__(self, client: Client, recorder: EventRecorder, writing: asyncio.Semaphore, turns: Turns) -> None:
        self._client = client
        self._writing = writing
        self._turns = turns
        self._recorder = recorder

    async def execute(self, plan: Plan) -> Result:
        """Carry out the actions in order, up to the first that fails."""
        result = Result()
        for batch in _batches(plan):
            if len(batch) == 1:
                await self._one(batch[0], result)
            else:
                async with asyncio.TaskGroup() as tasks:
                    for action in batch:
                        tasks.create_task(self._one(action, result))
            if result.outcome is not Outcome.DONE:
                break
        return result

    async def _one(self, action: Action, result: Result) -> None:
        """Carry out one action; a refusal goes into `result`."""
        try:
            async with self._writing:
                await self._turns.take()
                await self._do(action, result)
        except ApiError as error:
            result.failed(action, error)
            self._report(action, error)

    async def _do(self, action: Action, result: Result) -> None:
        match action:
            case Create():
                made = await self._client.create(action.resource, action.object)
                result.wrote(action.resource, made)
                if action.about is not None:
                    sentence = f"Created {action.resource.singular}: {name_of(made)}"
                    self._recorder.record(action.about, "Normal", "SuccessfulCreate", sentence)
            case Update():
                made = await self._client.update(action.resource, action.object, subresource=action.subresource)
                result.wrote(action.resource, made)
            case Patch():
                await self._patch(action, result)
            case Delete():
                await self._delete(action, result)
            case DeleteCollection():
                await self._client.delete_collection(action.resource, action.namespace, propagation="Background")
            case Record():
                self._recorder.record(action.about, action.type, action.reason, action.message, action.action)

    async def _patch(self, action: Patch, result: Result) -> None:
        patch = action.patch
        if action.uid:
            # A UID in a patch works as a precondition: it is immutable, so another object of the name refuses it.
            patch = {**patch, "metadata": {**patch.get("metadata", {}), "uid": action.uid}}
        namespace, name = action.key
        made = await self._client.patch(action.resource, name, namespace, patch, subresource=action.subresource)
        result.wrote(action.resource, made)

    async def _delete(self, action: Delete, result: Result) -> None:
        try:
            answer = await self._client.delete(
                action.resource,
                action.key.name,
                action.key.namespace,
                uid=action.uid,
                resource_version=action.revision,
                propagation=action.propagation,
                grace_period_seconds=action.grace_period_seconds,
            )
        except NotFound:
            result.deleted.append((action.resource, action.key, action.uid))
            return
        result.deleted.append((action.resource, action.key, action.uid))
        if answer.get("kind") == action.resource.kind:
            result.wrote(action.resource, answer)
        if action.about is not None:
            sentence = f"Deleted {action.resource.singular}: {action.key.name}"
            self._recorder.record(action.about, "Normal", "SuccessfulDelete", sentence)

    def _report(self, action: Action, error: ApiError) -> None:
        """Tell the user of the object on whose behalf the action was tried."""
        match action:
            case Create(about=dict() as about):
                self._recorder.record(about, "Warning", "FailedCreate", f"Error creating: {error.message}")
            case Delete(about=dict() as about):
                self._recorder.record(about, "Warning", "FailedDelete", f"Error deleting: {error.message}")


def _outcome(action: Action, error: ApiError) -> Outcome:
    """What an error means for the key of the plan that met it."""
    if isinstance(error, _STALE):
        return Outcome.RETRY
    if isinstance(error, Invalid) and isinstance(action, Patch) and action.uid:
        # Kubernetes answers a patch with another object's UID so.
        return Outcome.RETRY
    if isinstance(error, _HOPELESS):
        return Outcome.FATAL
    return Outcome.RETRY_LATER


def _batches(plan: Plan) -> Iterator[Sequence[Action]]:
    """The actions in the groups that may run at the same time.

    Groups of a parallel plan hold actions of one type and start small (1, 2, 4, ...): when the API refuses them all,
    for want of quota say, it is asked a few times and not for every one (Kubernetes' slow start).
    """
    size = 1
    batch: list[Action] = []
    for action in plan.actions:
        full = len(batch) >= size or not plan.parallel
        if batch and (full or type(action) is not type(batch[0])):
            yield batch
            size = size * 2 if type(action) is type(batch[0]) else 1
            batch = []
        batch.append(action)
    if batch:
        yield batch
