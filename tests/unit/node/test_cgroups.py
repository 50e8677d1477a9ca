"""Pods' cgroups: names and numbers as tables, and the trees that come of them in a directory that plays the kernel."""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path

import pytest

from agents.node.cgroups import slices
from agents.node.cgroups.kill import CgroupKiller
from agents.node.cgroups.names import CgroupNames, path_of
from agents.node.cgroups.pods import KernelCgroups, NoCgroups, remove_node
from agents.node.cgroups.settings import properties, settings, weight
from agents.node.ports import Resources, RuntimeInfo
from agents.node.resources import class_resources, node_resources, pod_resources
from mesh.objects.types import Object
from tests.support.node_world import NodeWorld, make_pod, node_world

UID = "0d2e-4f"
NOBODY = 2**22 + 1
"""A process id that the kernel does not give out."""
LIMITS = Resources(cpu_shares=512, cpu_quota_us=150_500, memory_bytes=64 << 20)


@pytest.mark.parametrize(
    ("qos", "path", "unit"),
    [
        ("Guaranteed", "/covey/c-1/n-1/kubepods/pod0d2e-4f", "covey-c_1-n_1-kubepods-pod0d2e_4f.slice"),
        (
            "Burstable",
            "/covey/c-1/n-1/kubepods/burstable/pod0d2e-4f",
            "covey-c_1-n_1-kubepods-burstable-pod0d2e_4f.slice",
        ),
        (
            "BestEffort",
            "/covey/c-1/n-1/kubepods/besteffort/pod0d2e-4f",
            "covey-c_1-n_1-kubepods-besteffort-pod0d2e_4f.slice",
        ),
    ],
)
def test_what_a_pods_cgroup_is_called(qos: str, path: str, unit: str) -> None:
    for systemd, expected in ((False, path), (True, unit)):
        names = CgroupNames("c-1", "n-1", systemd=systemd)
        assert names.of_pod(UID, qos) == expected
        assert names.uid(expected.rpartition("/")[2]) == UID
        assert {names.uid(name.rpartition("/")[2]) for name in names.classes()} == {""}


@pytest.mark.parametrize(
    ("cgroup", "path"),
    [
        ("/covey/c/n", "covey/c/n"),
        ("covey.slice", "covey.slice"),
        ("covey-c-n.slice", "covey.slice/covey-c.slice/covey-c-n.slice"),
    ],
)
def test_where_the_kernel_shows_it(cgroup: str, path: str) -> None:
    assert path_of(cgroup) == path


def test_limits_in_the_kernels_files() -> None:
    assert settings(LIMITS, unified=False) == [
        ("cpu", "cpu.shares", "512"),
        ("cpu", "cpu.cfs_period_us", "100000"),
        ("cpu", "cpu.cfs_quota_us", "150500"),
        ("memory", "memory.limit_in_bytes", "67108864"),
    ]
    assert settings(LIMITS, unified=True) == [
        ("cpu", "cpu.weight", "20"),
        ("cpu", "cpu.max", "150500 100000"),
        ("memory", "memory.max", "67108864"),
    ]
    assert settings(Resources(pids=7), unified=True) == [("pids", "pids.max", "7")]
    assert settings(Resources(), unified=False) == []
    assert [weight(shares) for shares in (2, 1024, 262_144)] == [1, 39, 10_000]


def test_limits_as_properties_of_a_slice() -> None:
    accounted = [("CPUAccounting", "b", "true"), ("MemoryAccounting", "b", "true"), ("TasksAccounting", "b", "true")]
    assert properties(LIMITS, unified=True) == [
        *accounted,
        ("CPUWeight", "t", "20"),
        ("CPUQuotaPerSecUSec", "t", "1510000"),
        ("MemoryMax", "t", "67108864"),
    ]
    assert properties(Resources(cpu_shares=2, memory_bytes=5, pids=7), unified=False) == [
        *accounted,
        ("CPUShares", "t", "2"),
        ("MemoryLimit", "t", "5"),
        ("TasksMax", "t", "7"),
    ]


def test_what_systemd_is_asked() -> None:
    values = [("CPUWeight", "t", "20"), ("CPUAccounting", "b", "true")]
    told = ("2", "CPUWeight", "t", "20", "CPUAccounting", "b", "true")
    assert slices.start("a.slice", values) == (
        "StartTransientUnit",
        "ssa(sv)a(sa(sv))",
        "a.slice",
        "replace",
        *told,
        "0",
    )
    assert slices.change("a.slice", values) == ("SetUnitProperties", "sba(sv)", "a.slice", "true", *told)


def container(name: str, requests: dict[str, str], limits: dict[str, str], **more: object) -> Object:
    return {"name": name, "image": "web:1", "resources": {"requests": requests, "limits": limits}, **more}


BOTH = {"cpu": "500m", "memory": "32Mi"}


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ({"containers": [container("a", {}, {})]}, Resources(cpu_shares=2)),
        (
            {"containers": [container("a", BOTH, BOTH), container("b", BOTH, BOTH)]},
            Resources(cpu_shares=1024, cpu_quota_us=100_000, memory_bytes=64 << 20),
        ),
        (  # without a limit on one of them there is none on the pod
            {"containers": [container("a", {}, BOTH), container("b", {"cpu": "100m"}, {"memory": "1Mi"})]},
            Resources(cpu_shares=614, memory_bytes=33 << 20),
        ),
        (  # the first steps need more than what comes after them
            {
                "initContainers": [
                    container("s", {}, {"cpu": "100m", "memory": "8Mi"}, restartPolicy="Always"),
                    container("i", {}, {"cpu": "1", "memory": "16Mi"}),
                ],
                "containers": [container("a", {}, {"cpu": "200m", "memory": "64Mi"})],
            },
            Resources(cpu_shares=1126, cpu_quota_us=110_000, memory_bytes=72 << 20),
        ),
    ],
)
def test_what_a_whole_pod_may_use(spec: Object, expected: Resources) -> None:
    assert pod_resources({"metadata": {"name": "p"}, "spec": spec}) == expected


def test_what_classes_and_node_weigh() -> None:
    specs = [[container("a", {"cpu": "250m"}, {})], [container("a", BOTH, BOTH)], [container("a", {}, {})]]
    pods = [{"metadata": {"name": "p"}, "spec": {"containers": containers}} for containers in specs]
    assert class_resources([*pods, pods[0]]) == Resources(cpu_shares=512), "those of the class Burstable"
    assert node_resources({"cpu": "2", "memory": "1Gi"}) == Resources(cpu_shares=2048, memory_bytes=1 << 30)


# In a directory that plays /sys/fs/cgroup.


def machine(root: Path, version: int, driver: str = "cgroupfs") -> KernelCgroups:
    if version == 2:
        (root / "cgroup.controllers").write_text("cpuset cpu io memory\n")
    else:
        for controller in ("cpu,cpuacct", "memory", "pids", "freezer"):
            (root / controller).mkdir()
        (root / "cpu").symlink_to("cpu,cpuacct")
    return KernelCgroups("c", "n", RuntimeInfo("docker", "1", driver), root)


def clear(tree: Path) -> None:
    """A directory of the kernel's can be removed with its files in it: these cannot."""
    for file in tree.rglob("*"):
        if file.is_file() and file.parent != tree:
            file.unlink()


async def test_version_1(tmp_path: Path) -> None:
    cgroups = machine(tmp_path, 1)
    await cgroups.ensure(UID, "Burstable", LIMITS)
    below = f"covey/c/n/kubepods/burstable/pod{UID}"
    assert (tmp_path / "cpu" / below / "cpu.cfs_quota_us").read_text() == "150500"
    assert (tmp_path / "memory" / below / "memory.limit_in_bytes").read_text() == "67108864"
    await cgroups.divide(Resources(memory_bytes=9), Resources(cpu_shares=77))
    assert (tmp_path / "memory/covey/c/n/kubepods/memory.limit_in_bytes").read_text() == "9"
    assert (tmp_path / "cpu/covey/c/n/kubepods/burstable/cpu.shares").read_text() == "77"
    assert (tmp_path / "cpu/covey/c/n/kubepods/besteffort/cpu.shares").read_text() == "2"
    (tmp_path / "freezer" / below / "docker-1").mkdir(parents=True)  # the runtime's
    assert cgroups.pods() == {UID}
    clear(tmp_path)
    await cgroups.remove(UID)
    assert cgroups.pods() == set()
    assert (tmp_path / "cpu/covey/c/n/kubepods/burstable").is_dir()
    await remove_node("c", "n", tmp_path)
    assert not list(tmp_path.glob("*/covey"))  # noqa: ASYNC240


async def test_version_2(tmp_path: Path) -> None:
    cgroups = machine(tmp_path, 2)
    await cgroups.ensure(UID, "Guaranteed", LIMITS)
    pod = tmp_path / f"covey/c/n/kubepods/pod{UID}"
    assert (pod / "cpu.max").read_text() == "150500 100000"
    for above in (tmp_path, *(tmp_path / path for path in ("covey", "covey/c", "covey/c/n", "covey/c/n/kubepods"))):
        assert (above / "cgroup.subtree_control").read_text() == "+cpu +memory", "of those that the kernel offers"
    assert not (pod / "cgroup.subtree_control").exists(), (
        "a cgroup's own processes and controllers below exclude another"
    )
    await KernelCgroups("c", "other", RuntimeInfo("docker", "1", "cgroupfs"), tmp_path).ensure(
        "u", "Guaranteed", LIMITS
    )
    clear(tmp_path)
    await remove_node("c", "n", tmp_path)
    assert [path.name for path in (tmp_path / "covey/c").iterdir()] == ["other"], "nobody else's is touched"


class PlayedSystemd:
    """Does what it is asked a little later, as systemd does, and refuses to start what it is starting."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._tasks: list[asyncio.Task[None]] = []
        self.asked: list[tuple[str, str]] = []
        self.starting: set[str] = set()
        self.deaf = False

    async def run(self, *command: str) -> None:
        verb, unit = command[1:3] if command[0] == "systemctl" else (command[6], command[8])
        self.asked.append((verb, unit))
        directory = self._root / path_of(unit)
        if verb == "stop":
            clear(directory)
            shutil.rmtree(directory)
        elif verb == "StartTransientUnit":
            if unit in self.starting or directory.exists():
                raise OSError(f"Unit {unit} was already loaded or has a fragment file.")
            self.starting.add(unit)
            self._tasks.append(asyncio.create_task(self._start(unit, directory)))

    async def _start(self, unit: str, directory: Path) -> None:
        await asyncio.sleep(0.1)
        if not self.deaf:
            directory.mkdir(parents=True)  # noqa: ASYNC240
        self.starting.remove(unit)


@pytest.fixture
def systemd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> PlayedSystemd:
    played = PlayedSystemd(tmp_path)
    monkeypatch.setattr(slices, "_run", played.run)
    return played


@pytest.mark.looptime
async def test_a_pods_slice_comes_after_those_above_it(tmp_path: Path, systemd: PlayedSystemd) -> None:
    cgroups = machine(tmp_path, 2, "systemd")
    await asyncio.gather(cgroups.ensure(UID, "Burstable", LIMITS), cgroups.divide(LIMITS, LIMITS))
    node = "covey-c-n-kubepods"
    unit = f"{node}-burstable-pod0d2e_4f.slice"
    started = [unit for verb, unit in systemd.asked if verb == "StartTransientUnit"]
    assert sorted(started) == sorted([f"{node}.slice", f"{node}-burstable.slice", f"{node}-besteffort.slice", unit]), (
        "each once, though two asked"
    )
    assert started.index(f"{node}-burstable.slice") < started.index(unit)
    assert (cgroups.parent(UID, "Burstable"), cgroups.pods()) == (unit, {UID})
    await cgroups.ensure(UID, "Burstable", LIMITS)
    assert systemd.asked[-1] == ("SetUnitProperties", unit)
    await cgroups.remove(UID)
    await cgroups.remove(UID)
    assert [asked for asked in systemd.asked if asked[0] == "stop"] == [("stop", unit)]
    assert cgroups.pods() == set()


@pytest.mark.looptime
async def test_slices_that_nobody_needs_are_gone_when_a_node_is_removed(tmp_path: Path, systemd: PlayedSystemd) -> None:
    cgroups = machine(tmp_path, 2, "systemd")
    await cgroups.ensure(UID, "Guaranteed", LIMITS)
    await remove_node("c", "n", tmp_path)
    assert [unit for verb, unit in systemd.asked if verb == "stop"] == [
        "covey-c-n.slice", "covey-c.slice", "covey.slice",
    ]  # fmt: skip
    assert not list(tmp_path.glob("covey*"))  # noqa: ASYNC240


@pytest.mark.looptime
async def test_a_systemd_that_starts_nothing(tmp_path: Path, systemd: PlayedSystemd) -> None:
    systemd.deaf = True
    with pytest.raises(OSError, match=r"covey-c-n-kubepods\.slice has not started after 10 s"):
        await machine(tmp_path, 2, "systemd").ensure(UID, "Guaranteed", LIMITS)


@pytest.mark.parametrize("version", [1, 2])
def test_the_root_is_nobodys_to_kill(version: int, tmp_path: Path) -> None:
    machine(tmp_path, version, "cgroupfs")
    root = tmp_path if version == 2 else tmp_path / "freezer"
    root.mkdir(exist_ok=True)
    (root / "cgroup.procs").write_text(f"{NOBODY}\n")
    for name in ("", "/"):
        assert not CgroupKiller(tmp_path).kill(name)


@pytest.mark.parametrize("driver", ["cgroupfs", "systemd"])
@pytest.mark.parametrize("version", [1, 2])
def test_all_of_a_pod_is_killed(version: int, driver: str, tmp_path: Path) -> None:
    cgroups = machine(tmp_path, version, driver)
    cgroup = cgroups.parent(UID, "BestEffort")
    killer = CgroupKiller(tmp_path)
    assert not killer.kill(cgroup), "absent"
    pod = (tmp_path if version == 2 else tmp_path / "freezer") / path_of(cgroup)
    (pod / "inner").mkdir(parents=True)
    frozen = pod / ("cgroup.freeze" if version == 2 else "freezer.state")
    frozen.write_text("")
    (pod / "inner/cgroup.procs").write_text("")
    assert not killer.kill(cgroup), "empty"
    (pod / "inner/cgroup.procs").write_text(f"{NOBODY}\n")
    assert killer.kill(cgroup)
    assert frozen.read_text() in {"0", "THAWED"}, "what is frozen does not die"
    (pod / "cgroup.kill").write_text("")
    assert killer.kill(cgroup)
    assert (pod / "cgroup.kill").read_text() == "1"


class RecordedCgroups(NoCgroups):
    """A kernel that refuses while `broken`, and in which a cgroup may be left over."""

    def __init__(self) -> None:
        self.there: dict[str, tuple[str, Resources]] = {}
        self.weights: list[Resources] = []
        self.broken = False

    async def ensure(self, uid: str, qos: str, limits: Resources) -> None:
        if self.broken:
            raise OSError("Read-only file system")
        self.there[uid] = qos, limits

    async def divide(self, whole: Resources, burstable: Resources) -> None:
        self.weights.append(burstable)

    async def remove(self, uid: str) -> None:
        self.there.pop(uid, None)

    def pods(self) -> set[str]:
        return set(self.there)


@pytest.mark.looptime
async def test_a_pods_cgroup_comes_before_it_and_goes_with_it() -> None:
    world, cgroups = NodeWorld(), RecordedCgroups()
    world.make_cgroups = lambda _: cgroups
    cgroups.there["stray"] = "Burstable", Resources()
    cgroups.broken = True
    await world.start()
    try:
        await world.until(lambda: cgroups.pods() == set())
        world.create(make_pod(containers=[container("a", {"cpu": "500m"}, {})]))
        await world.until(lambda: "FailedCreatePodContainer" in [reason for reason, _ in world.events()])
        assert await world.runtime.sandboxes() == []
        cgroups.broken = False
        uid = (await world.until_phase("Running"))["metadata"]["uid"]
        assert cgroups.there == {uid: ("Burstable", Resources(cpu_shares=512))}
        assert cgroups.weights[-1] == Resources(cpu_shares=512)
        await world.restart()
        await world.until(lambda: len(world.agent.workers) == 1)
        world.delete()
        await world.until(lambda: not world.exists())
        await world.until(lambda: cgroups.pods() == set() and cgroups.weights[-1] == Resources(cpu_shares=2))
    finally:
        await world.stop()


@pytest.mark.looptime
async def test_a_cgroup_that_was_not_empty_when_its_pod_went_is_removed_later() -> None:
    cgroups = RecordedCgroups()
    async with node_world() as world:
        await world.stop()
        world.make_cgroups = lambda _: cgroups
        await world.start()
        world.create(make_pod())
        uid = (await world.until_phase("Running"))["metadata"]["uid"]
        world.delete()
        await world.until(lambda: not world.exists())
        cgroups.there[uid] = "BestEffort", Resources()
        await world.until(lambda: cgroups.pods() == set(), within=200)
