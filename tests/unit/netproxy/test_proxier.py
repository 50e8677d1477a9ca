"""The loop, on virtual time: bursts, refusals, somebody else's changes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager

import pytest

from mesh.clock import ManualClock
from mesh.objects.labels import Selector
from mesh.objects.meta import Key, key_of
from mesh.objects.types import Object
from netproxy.backend import KernelRefused
from netproxy.hostports import owner_of
from netproxy.model import Frontend, NodeView, Rules
from netproxy.plan import Changes
from netproxy.proxier import Proxier
from tests.support.services import endpoint, service, slice_of

pytestmark = pytest.mark.looptime


class Held:
    def __init__(self, *objects: Object) -> None:
        self.objects = {key_of(o): o for o in objects}

    def get(self, key: Key) -> Object | None:
        return self.objects.get(key)

    def list(self, namespace: str = "", selector: Selector | None = None) -> Sequence[Object]:
        return list(self.objects.values())

    def index(self, name: str, value: str) -> Sequence[Object]:
        return [
            o for o in self.objects.values() if value.endswith(o["metadata"]["labels"]["kubernetes.io/service-name"])
        ]


class Journal:
    """A back end that writes down what it is asked to do."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.refuse = 0
        self.slow = 0.0
        self.untouched = True
        self.looks = 0
        self.look: Callable[[], None] = lambda: None

    async def sync(self, rules: Rules) -> int:
        await self._call(f"sync {len(rules)}")
        self.untouched = True
        return len(rules)

    async def apply(self, changes: Changes) -> int:
        await self._call(f"apply {len(changes)}")
        return len(changes)

    async def _call(self, what: str) -> None:
        self.calls.append(what)
        await asyncio.sleep(self.slow)
        if self.refuse:
            self.refuse -= 1
            raise KernelRefused("no")

    async def intact(self) -> bool:
        self.looks += 1
        self.look()
        return self.untouched

    async def cleanup(self) -> None:
        raise NotImplementedError

    def close(self) -> None:
        pass


class Flows:
    def __init__(self) -> None:
        self.reconciled: list[Collection[Frontend] | None] = []

    async def reconcile(self, rules: Rules, frontends: Collection[Frontend] | None) -> None:
        self.reconciled.append(frontends)


class Guard:
    def __init__(self) -> None:
        self.ensured = 0
        self.refuse = False

    async def ensure(self) -> None:
        self.ensured += 1
        if self.refuse:
            raise KernelRefused("the lock is held")


class Setting:
    def __init__(self, count: int = 3) -> None:
        names = [f"s{i}" for i in range(count)]
        self.services = Held(*(service(n, address=f"10.96.0.{i}", protocol="UDP") for i, n in enumerate(names)))
        self.slices = Held(*(slice_of(n, [endpoint("10.64.0.2")], protocol="UDP") for n in names))
        self.pods = Held()
        self.journal, self.flows, self.guard, self.clock = Journal(), Flows(), Guard(), ManualClock()
        self.proxier = Proxier(
            services=self.services,
            slices=self.slices,
            pods=self.pods,
            backend=self.journal,
            flows=self.flows,
            guard=self.guard,
            clock=self.clock,
        )

    def move(self, name: str, address: str) -> None:
        piece = slice_of(name, [endpoint(address)], protocol="UDP")
        self.slices.objects[key_of(piece)] = piece
        self.proxier.wake(Key("default", name))

    @contextmanager
    def running(self) -> Iterator[None]:
        self.proxier.set_node(NodeView("node"))
        loop = asyncio.create_task(self.proxier.run())
        try:
            yield
        finally:
            loop.cancel()


async def test_the_first_change_goes_at_once_and_a_burst_together() -> None:
    setting = Setting()
    with setting.running():
        await asyncio.sleep(0.1)
        assert setting.journal.calls == ["sync 3"]
        setting.journal.slow = 1.0
        setting.move("s0", "10.64.0.3")
        await asyncio.sleep(0.1)
        setting.move("s1", "10.64.0.3")
        setting.move("s2", "10.64.0.3")
        setting.move("s2", "10.64.0.4")
        await asyncio.sleep(3)
        assert setting.journal.calls == ["sync 3", "apply 1", "apply 2"]
        assert [len(frontends or ()) for frontends in setting.flows.reconciled] == [0, 1, 2]


async def test_a_doorbell_without_a_change_writes_nothing() -> None:
    setting = Setting()
    with setting.running():
        await asyncio.sleep(0.1)
        setting.move("s0", "10.64.0.2")
        await asyncio.sleep(0.1)
        assert setting.journal.calls == ["sync 3"]


async def test_after_a_refusal_everything_is_synced_with_growing_pauses() -> None:
    setting = Setting()
    with setting.running():
        await asyncio.sleep(0.1)
        setting.journal.refuse = 2
        setting.move("s0", "10.64.0.3")
        await asyncio.sleep(0.2)
        assert setting.journal.calls == ["sync 3", "apply 1"]
        await asyncio.sleep(0.5)
        assert setting.journal.calls == ["sync 3", "apply 1", "sync 3"]
        await asyncio.sleep(1)
        assert setting.journal.calls == ["sync 3", "apply 1", "sync 3", "sync 3"]
        setting.move("s0", "10.64.0.4")
        await asyncio.sleep(0.1)
        assert setting.journal.calls[-1] == "apply 1"
        assert setting.proxier.statistics.refusals == 2


async def test_a_full_sync_reconciles_all_flows() -> None:
    setting = Setting()
    with setting.running():
        await asyncio.sleep(0.1)
        assert setting.flows.reconciled == [None]
        setting.journal.refuse = 1
        setting.move("s0", "10.64.0.3")
        await asyncio.sleep(2)
        assert setting.flows.reconciled == [None, None]


async def test_foreign_changes_are_found_and_undone() -> None:
    setting = Setting()
    with setting.running():
        await asyncio.sleep(0.1)
        assert (setting.journal.calls, setting.guard.ensured) == (["sync 3"], 1)
        setting.journal.untouched = False
        await asyncio.sleep(1.5)
        assert (setting.journal.calls, setting.guard.ensured) == (["sync 3", "sync 3"], 2)
        await asyncio.sleep(5)
        assert setting.journal.calls == ["sync 3", "sync 3"]


async def test_foreign_changes_are_found_while_services_change_all_the_time() -> None:
    setting = Setting()
    with setting.running():
        await asyncio.sleep(0.1)
        setting.journal.untouched = False
        for number in range(20):
            setting.move("s0", f"10.64.0.{3 + number}")
            await asyncio.sleep(0.1)
        assert setting.journal.calls.count("sync 3") == 2


async def test_a_guard_that_refuses_is_tried_again_in_its_own_time() -> None:
    """And leaves the rules alone."""
    setting = Setting()
    setting.guard.refuse = True
    setting.journal.look = lambda: setting.clock.advance(1.0)
    with setting.running():
        await asyncio.sleep(0.1)
        assert (setting.journal.calls, setting.guard.ensured) == (["sync 3"], 1)
        await asyncio.sleep(1250)
        assert 20 < setting.journal.looks <= 30
        assert setting.journal.calls == ["sync 3"]
        assert setting.guard.ensured == 3
        assert setting.proxier.statistics.refusals == 0


async def test_looking_takes_a_small_share_of_the_time() -> None:
    setting = Setting()
    setting.journal.look = lambda: setting.clock.advance(3.0)
    with setting.running():
        await asyncio.sleep(300)
        assert setting.journal.looks == 2


async def test_a_new_zone_concerns_every_service() -> None:
    setting = Setting()
    with setting.running():
        await asyncio.sleep(0.1)
        for name in ("s0", "s1", "s2"):
            far, near = endpoint("10.64.1.2", zones=["east"]), endpoint("10.64.0.2", zones=["west"])
            piece = slice_of(name, [far, near], protocol="UDP")
            setting.slices.objects[key_of(piece)] = piece
        setting.proxier.set_node(NodeView("node", zone="east"))
        await asyncio.sleep(0.1)
        assert setting.journal.calls == ["sync 3", "apply 3"]


async def test_a_pods_host_port_is_a_rule_as_long_as_the_pod_is_there() -> None:
    setting = Setting(0)
    pod: Object = {
        "metadata": {"namespace": "default", "name": "p"},
        "spec": {"nodeName": "node", "containers": [{"ports": [{"containerPort": 80, "hostPort": 8080}]}]},
        "status": {"podIPs": [{"ip": "10.64.0.9"}]},
    }
    owner = owner_of(pod)
    assert owner is not None
    with setting.running():
        await asyncio.sleep(1)
        setting.pods.objects[key_of(pod)] = pod
        setting.proxier.wake(owner)
        await asyncio.sleep(1)
        assert [f.port for f in setting.proxier.table.rules] == [8080]
        setting.proxier.set_node(NodeView("other"))
        await asyncio.sleep(1)
        assert setting.proxier.table.rules == {}
        setting.proxier.set_node(NodeView("node"))
        await asyncio.sleep(1)
        assert len(setting.proxier.table.rules) == 1
        del setting.pods.objects[key_of(pod)]
        setting.proxier.wake(owner)
        await asyncio.sleep(1)
        assert setting.proxier.table.rules == {}
    assert setting.journal.calls == ["sync 0", "apply 1", "apply 1", "apply 1", "apply 1"]
