"""Plays one seed: a quiet start, a storm while users are at work, and the calm after it, in which all must settle."""

from __future__ import annotations

import asyncio
import logging
import tempfile
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from controlplane.apiserver import pki
from mesh.objects.kinds import NODES, SERVICEACCOUNTS
from mesh.objects.meta import Key
from tests.simulation import process
from tests.simulation.settled import SETTLED, WITHIN, unsettled
from tests.simulation.storm import Storm
from tests.simulation.trace import Trace
from tests.simulation.users import NAMESPACE, User
from tests.simulation.virtual import START, VirtualLoop
from tests.simulation.world import CLIENTS, OPERATOR, Failure, World

STORM_SECONDS = 60.0
LOOK_SECONDS = 0.5
"""Between two looks at what is costly to check."""
_START_WITHIN = 60.0


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a seed went."""

    seed: int
    failure: Failure | None
    trace: Trace
    seconds: float
    """Virtual."""
    writes: int


def play(seed: int, *, faults: bool = True, plant: AbstractContextManager[Any] | None = None) -> Outcome:
    """Run the cluster from one seed. `plant` is a fault in the product itself, for as long as this lasts."""
    loop = VirtualLoop()
    loop.adopt = process.adopt
    with tempfile.TemporaryDirectory() as directory, plant or nullcontext():
        try:
            return loop.run_until_complete(_play(loop, seed, Path(directory), faults=faults))
        finally:
            loop.run_until_complete(loop.shutdown_asyncgens())
            loop.close()


async def _play(loop: VirtualLoop, seed: int, directory: Path, *, faults: bool) -> Outcome:
    pki.ensure(directory, pki.server_names("192.0.2.100", ["10.96.0.0/16"], "cluster.local"), START)
    world = World(seed, directory)
    loop.set_exception_handler(lambda _, context: _complain(world, context))
    listener = _Listener(world)
    logging.getLogger().addHandler(listener)
    try:
        await _story(world, faults=faults)
    finally:
        logging.getLogger().removeHandler(listener)
    return Outcome(seed, world.failure, world.trace, world.now, world.engine.revision)


async def _story(world: World, *, faults: bool) -> None:
    """From power on to power off, or to the first failure."""
    world.start()
    looking = asyncio.create_task(_look(world))
    telling = asyncio.create_task(_tell(world, faults=faults))
    failing = asyncio.create_task(world.failed.wait())
    await asyncio.wait((telling, failing), return_when=asyncio.FIRST_COMPLETED)
    for task in (looking, telling, failing):
        task.cancel()
    await asyncio.wait((looking, telling, failing))
    await world.stop()
    if not telling.cancelled():
        telling.result()


async def _tell(world: World, *, faults: bool) -> None:
    """Start, storm and calm."""
    if not await _until(world, lambda: _started(world), _START_WITHIN):
        world.fail("The cluster starts.", "; ".join(unsettled(world)) or "it has not come up")
    users = [User(world, identity) for identity in CLIENTS]
    for user in users[:-1]:
        user.start(user.do_things)
    users[-1].start(users[-1].keep)
    try:
        await (Storm(world).rage(STORM_SECONDS) if faults else asyncio.sleep(STORM_SECONDS))
    finally:
        for user in users:
            await user.stop()
    await _tidy(world)
    if not await _until(world, lambda: not unsettled(world), WITHIN):
        world.fail(SETTLED, f"after {WITHIN:.0f} s: " + "; ".join(unsettled(world)))
    world.look()


def _started(world: World) -> bool:
    account = world.history.get(SERVICEACCOUNTS, Key(NAMESPACE, "default"))
    return account is not None and len(world.history.objects(NODES)) == len(world.nodes)


async def _tidy(world: World) -> None:
    """What an operator does when the storm is over: uncordon what users left cordoned."""
    operator = User(world, OPERATOR)
    operator.start(operator.uncordon_all)
    if not await _until(world, lambda: operator.done, WITHIN):
        world.fail("An operator is served within a reasonable time.", f"not within {WITHIN:.0f} s")
    await operator.stop()


async def _until(world: World, condition: Callable[[], bool], seconds: float) -> bool:
    """Whether the condition has come about in time."""
    end = world.now + seconds
    while world.now < end:
        if condition():
            return True
        await asyncio.sleep(LOOK_SECONDS)
    return False


async def _look(world: World) -> None:
    while True:
        world.look()
        await asyncio.sleep(LOOK_SECONDS)


def _complain(world: World, context: dict[str, Any]) -> None:
    """A callback of the loop has raised. (That nobody fetched a task's exception is told when memory is collected, at
    no particular time, and after a process was killed it means nothing.)"""
    if "never retrieved" not in context["message"]:
        world.fail("No part has a fault of its own.", context["message"], context.get("exception"))


class _Listener(logging.Handler):
    """Parts tell of faults of their own (a plan that raised, a worker that fell) by logging an error."""

    def __init__(self, world: World) -> None:
        super().__init__(logging.ERROR)
        self._world = world

    def emit(self, record: logging.LogRecord) -> None:
        """One error."""
        error = record.exc_info[1] if record.exc_info else None
        self._world.fail("No part has a fault of its own.", record.getMessage(), error)
