"""Sandboxes on a daemon that is only a table: what has not moved into a namespace of its own, and what fails meanwhile."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Mapping
from itertools import count
from pathlib import Path
from typing import Any, cast

import pytest

from agents.node.network_port import PodAddresses
from agents.node.ports import RuntimeAway, RuntimeFailure, SandboxSpec
from agents.node.runtimes import sandboxes, translate
from agents.node.runtimes.binaries import ISOLATED
from agents.node.runtimes.claims import Claims
from agents.node.runtimes.engine import Engine, Refused
from agents.node.runtimes.labels import Owner
from agents.node.runtimes.sandboxes import Sandboxes
from agents.node.sysctls import NONE

pytestmark = pytest.mark.looptime
OWNER = Owner("c", "n1")
SPEC = SandboxSpec("uid-1", "default", "web")


class Daemon:
    """As much of the Engine API as sandboxes need."""

    def __init__(self) -> None:
        self.containers: dict[str, dict[str, Any]] = {}
        self._pids = count(2**22 + 1)  # the kernel gives out smaller ones

    async def request(
        self, method: str, path: str, *, params: Mapping[str, Any] | None = None, body: Any = None
    ) -> Any:
        _, _, target, *action = path.split("/")
        if (method, target) == ("POST", "create"):
            return self._create(str((params or {})["name"]), body["Labels"])
        if target == "json":
            wanted = dict(label.split("=") for label in json.loads((params or {})["filters"])["label"])
            shown = [(c, c["Config"]["Labels"]) for c in self.containers.values()]
            return [{"Id": c["Id"], "Labels": labels} for c, labels in shown if wanted.items() <= labels.items()]
        found = next((c for c in self.containers.values() if target in {c["Id"], c["Name"]}), None)
        if found is None:
            raise Refused(404, f"No such container: {target}")
        if method == "GET":
            return found
        if method == "DELETE":
            del self.containers[found["Id"]]
        elif action == ["start"]:
            found["State"] = {"Status": "running", "Pid": next(self._pids)}
        return None

    def _create(self, name: str, labels: dict[str, str]) -> dict[str, str]:
        if any(c["Name"] == name for c in self.containers.values()):
            raise Refused(409, f"Conflict. The container name {name} is already in use")
        made = f"id-{next(self._pids)}"
        self.containers[made] = {
            "Id": made,
            "Name": name,
            "Created": "2026-01-01T00:00:00Z",
            "State": {"Status": "created"},
            "Config": {"Labels": labels},
        }
        return {"Id": made}


class Wires:
    """A pod network that fails when told to."""

    def __init__(self) -> None:
        self.attached: set[str] = set()
        self.leaving = ""
        self.answers: list[Exception | None] = []
        """What the next calls raise; None for nothing."""

    async def attach(self, sandbox_id: str, netns: str, sysctls: Mapping[str, str] = NONE) -> PodAddresses:
        if self.answers and (failure := self.answers.pop(0)) is not None:
            raise failure
        self.attached.add(sandbox_id)
        return PodAddresses(("10.64.0.9",))

    async def detach(self, sandbox_id: str) -> None:
        self.leaving = sandbox_id
        await asyncio.sleep(1)
        self.attached.discard(sandbox_id)

    async def retain(self, sandbox_ids: frozenset[str]) -> None:
        raise NotImplementedError


class Node:
    """One node's sandboxes, and what their processes are called."""

    def __init__(self, directory: Path, patch: pytest.MonkeyPatch) -> None:
        self.daemon, self.wires, self.name = Daemon(), Wires(), ISOLATED
        self._directory = directory
        self.sandboxes = self.another()
        patch.setattr(sandboxes, "_called", lambda _pid: self.name)

    def another(self) -> Sandboxes:
        """What a new agent makes of the same node."""
        engine = cast("Engine", self.daemon)
        return Sandboxes(engine, OWNER, Claims(self._directory), translate.Host("pause:1", "", 0))


@pytest.fixture
async def node(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Node]:
    made = Node(tmp_path, monkeypatch)
    yield made
    await made.sandboxes.close()


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not holds():  # noqa: ASYNC110 - on virtual time
            await asyncio.sleep(0.05)


@pytest.mark.parametrize("name", ["pause", ""])
async def test_a_sandbox_that_gets_no_namespace_of_its_own_is_removed(node: Node, name: str) -> None:
    node.name = name
    with pytest.raises(RuntimeFailure, match="no network namespace of its own"):
        await node.sandboxes.create(SPEC)
    assert node.daemon.containers == {}
    shared = SandboxSpec("uid-2", "default", "web", host_network=True)
    assert (await node.sandboxes.create(shared)).pod_uid == "uid-2"


@pytest.mark.parametrize("restarted", [False, True])
async def test_one_that_is_there_already_is_waited_for_too(node: Node, restarted: bool) -> None:
    """Asked again by this agent, which remembers it, or by another, whom the daemon tells that the name is taken."""
    first = await node.sandboxes.create(SPEC)
    asked = node.another() if restarted else node.sandboxes
    node.name = "pause"
    again = asyncio.create_task(asked.create(SPEC))
    await asyncio.sleep(1)
    assert not again.done()
    node.name = ISOLATED
    assert (await again).id == first.id


async def test_a_dead_one_is_not_forgotten_when_it_dies_while_another_is_removed(node: Node) -> None:
    await node.sandboxes.keep_warm(node.wires, 1)
    await until(lambda: len(node.wires.attached) == 1)
    [first] = node.wires.attached
    assert node.sandboxes._take(SPEC) is None, "its process is none of this machine's"
    await until(lambda: node.wires.leaving == first)
    second = (await node.daemon.request("POST", "/containers/create", params={"name": "b"}, body={"Labels": {}}))["Id"]
    node.sandboxes._dead.append(second)
    await until(lambda: not node.daemon.containers.keys() & {first, second})


async def test_an_adoption_that_failed_half_way_is_begun_anew(node: Node) -> None:
    await node.sandboxes.keep_warm(node.wires, 2)
    await until(lambda: len(node.wires.attached) == 2)
    second, wires = node.another(), Wires()
    wires.answers = [None, RuntimeAway("RuntimeAway", "the daemon is restarting")]
    with pytest.raises(RuntimeAway):
        await second.keep_warm(wires, 2)
    await second.keep_warm(wires, 2)
    assert sorted(status.id for status in second._warm) == sorted(node.wires.attached), "each of them once"
    await second.close()


async def test_the_pool_outlives_a_fault_of_ours(node: Node, caplog: pytest.LogCaptureFixture) -> None:
    node.wires.answers = [KeyError("alias")]
    await node.sandboxes.keep_warm(node.wires, 1)
    await until(lambda: len(node.wires.attached) == 1)
    assert node.daemon.containers.keys() == node.wires.attached
    assert "KeyError: 'alias'" in caplog.text
