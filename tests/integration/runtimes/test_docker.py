"""What only a real Docker can show: hostnames, exact start errors, limits, namespaces, adoption by a new agent."""

from __future__ import annotations

import asyncio
import os
import signal
from contextlib import aclosing
from pathlib import Path

import pytest

from agents.node.ports import Mount, Resources, RuntimeAway, RuntimeFailure, SandboxSpec, Security, State
from agents.node.runtimes.docker import DockerRuntime, DockerSettings
from tests.integration.runtimes.test_contract import FOREVER, ended, status
from tests.support.docker import Pod, docker_runtime, output, sdk

pytestmark = pytest.mark.docker


def proc(pid: int, name: str) -> Path:
    return Path(f"/proc/{pid}/{name}")


async def test_hostname_is_there_before_the_first_instruction(runtime: DockerRuntime) -> None:
    pod = await Pod.make(runtime, "web-0")
    container = await pod.sh("hostname; cat /proc/sys/kernel/hostname /etc/hostname; echo $HOSTNAME; ls -A /.covey")
    said, _ = await output(runtime, container)
    assert said.decode().split() == ["web-0"] * 4 + ["hostname", "init"]


async def test_a_sandbox_has_a_network_namespace_of_its_own_and_no_capability(runtime: DockerRuntime) -> None:
    pod = await Pod.make(runtime)
    own = proc(pod.sandbox.pid, "ns/net").stat().st_ino
    assert own != proc(os.getpid(), "ns/net").stat().st_ino
    fields = dict(line.split(":\t") for line in proc(pod.sandbox.pid, "status").read_text().splitlines())
    assert {fields[f"Cap{kind}"] for kind in ("Eff", "Prm", "Inh", "Amb")} == {"0" * 16}
    assert fields["NoNewPrivs"] == "1"
    said, _ = await output(runtime, await pod.sh("readlink /proc/self/ns/net; ls /sys/class/net"))
    assert said.decode().split() == [f"net:[{own}]", "lo"]


async def test_the_machines_own_hostname_stays(runtime: DockerRuntime) -> None:
    before = os.uname().nodename
    await (await Pod.make(runtime, "somebody-else")).sh(FOREVER)
    assert os.uname().nodename == before


async def test_a_container_sees_its_own_command_and_environment(runtime: DockerRuntime) -> None:
    pod = await Pod.make(runtime)
    container = await pod.run(
        "sh", "-c", "tr '\\0' ' ' < /proc/1/cmdline; echo; pwd; echo $GREETING; id -u; id -G",
        environment=(("GREETING", "hello world"),), working_dir="/tmp",
        security=Security(user="1000:1000", groups=(7,)),
    )  # fmt: skip
    said, _ = await output(runtime, container)
    command, directory, greeting, user, groups = said.decode().splitlines()
    assert command.startswith("sh -c tr")
    assert (directory, greeting, user, groups) == ("/tmp", "hello world", "1000", "1000 7")


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("nothing", 'exec: "nothing": executable file not found in $PATH'),
        ("/bin/nothing", 'exec: "/bin/nothing": stat /bin/nothing: no such file or directory'),
        ("/etc/passwd", 'exec: "/etc/passwd": permission denied'),
        ("/etc", 'exec: "/etc": permission denied'),
        ("/mnt/garbage", 'exec: "/mnt/garbage": exec format error'),
    ],
)
async def test_commands_that_cannot_be_executed(
    runtime: DockerRuntime, tmp_path: Path, command: str, message: str
) -> None:
    garbage = tmp_path / "garbage"
    garbage.write_bytes(b"\0\1\2\3")
    garbage.chmod(0o755)
    pod = await Pod.make(runtime)
    container = await runtime.create_container(pod.spec(command, mounts=(Mount(str(garbage), "/mnt/garbage"),)))
    with pytest.raises(RuntimeFailure) as caught:
        await runtime.start_container(container)
    assert caught.value.message.endswith(message)
    assert (await status(runtime, container)).exit_code == 128


async def test_mounts_are_refused_where_their_source_is_missing(runtime: DockerRuntime) -> None:
    pod = await Pod.make(runtime)
    with pytest.raises(RuntimeFailure, match="bind source path does not exist") as caught:
        await runtime.create_container(pod.spec("true", mounts=(Mount("/no/such/path", "/mnt"),)))
    assert caught.value.reason == "CreateContainerError"


async def test_mounts(runtime: DockerRuntime, tmp_path: Path) -> None:
    (tmp_path / "hosts").write_text("10.64.0.9 web-0\n")
    (tmp_path / "data").mkdir()
    pod = await Pod.make(runtime)
    mounts = (
        Mount(str(tmp_path / "hosts"), "/etc/hosts"),
        Mount(str(tmp_path / "data"), "/data"),
        Mount(str(tmp_path / "data"), "/read", read_only=True),
    )
    container = await pod.sh("cat /etc/hosts; echo x > /data/x; cat /read/x; echo y > /read/y", mounts=mounts)
    said, complained = await output(runtime, container)
    assert said == b"10.64.0.9 web-0\nx\n"
    assert b"Read-only file system" in complained


async def test_out_of_memory(runtime: DockerRuntime) -> None:
    pod = await Pod.make(runtime)
    # tail keeps the last line in memory, and /dev/zero has only one.
    container = await pod.run("tail", "/dev/zero", resources=Resources(memory_bytes=16 << 20))
    over = await ended(runtime, container)
    assert (over.oom_killed, over.exit_code, over.signal) == (True, 137, 9)


async def test_limits_reach_the_container(runtime: DockerRuntime) -> None:
    pod = await Pod.make(runtime)
    limits = Resources(cpu_shares=512, cpu_quota_us=50_000, memory_bytes=64 << 20, pids=50, oom_score_adj=900)
    container = await pod.sh(FOREVER, resources=limits)
    with sdk() as client:
        host = client.containers.get(container).attrs["HostConfig"]
    assert (host["CpuShares"], host["CpuQuota"], host["Memory"], host["MemorySwap"]) == (
        512, 50_000, 64 << 20, 64 << 20,
    )  # fmt: skip
    assert (host["PidsLimit"], host["OomScoreAdj"]) == (50, 900)
    pid = (await status(runtime, container)).pid
    assert proc(pid, "oom_score_adj").read_text().strip() == "900"


async def test_host_network_is_the_holders(cluster: str, runtime: DockerRuntime, tmp_path: Path) -> None:
    holder = await Pod.make(runtime)
    async with docker_runtime(cluster, tmp_path / "n2", "n2", holder=holder.sandbox.id) as node:
        pod = await Pod.make(node, "node-2", host_network=True)
        container = await pod.sh("hostname; " + FOREVER)
        running = await status(node, container)
        assert proc(running.pid, "ns/net").stat().st_ino == proc(holder.sandbox.pid, "ns/net").stat().st_ino
        async with aclosing(node.logs(container, follow=True, tail=None, since=None, timestamps=False)) as log:  # type: ignore[type-var]
            assert await anext(log) == (1, b"node-2\n")
        assert await runtime.containers(pod.uid) == []  # each node sees its own


async def test_containers_of_a_pod_share_network_and_ipc_but_not_processes(runtime: DockerRuntime) -> None:
    pod = await Pod.make(runtime)
    pids = [(await status(runtime, await pod.sh(FOREVER, name=name))).pid for name in ("a", "b")]

    def spaces(kind: str) -> set[int]:
        return {proc(pid, f"ns/{kind}").stat().st_ino for pid in pids}

    assert (len(spaces("net")), len(spaces("ipc")), len(spaces("pid"))) == (1, 1, 2)


async def test_a_shared_process_namespace(runtime: DockerRuntime) -> None:
    pod = await Pod.make(runtime)
    container = await pod.sh("cat /proc/1/cmdline; echo", share_pid_with=pod.sandbox.id)
    assert (await output(runtime, container))[0] == b"/pause\0isolate\0\n"


async def test_sysctls_of_a_sandbox(runtime: DockerRuntime) -> None:
    pod = await Pod.make(runtime, sysctls={"kernel.shm_rmid_forced": "1"})
    said, _ = await output(runtime, await pod.sh("cat /proc/sys/kernel/shm_rmid_forced"))
    assert said == b"1\n"


async def test_a_dead_sandbox_is_replaced(runtime: DockerRuntime) -> None:
    pod = await Pod.make(runtime)
    os.kill(pod.sandbox.pid, signal.SIGTERM)  # the pause process ends at once
    for _ in range(400):
        (found,) = await runtime.sandboxes()
        if found.state is State.EXITED:
            break
        await asyncio.sleep(0.05)
    assert (found.pid, found.netns) == (0, "")
    again = await runtime.create_sandbox(SandboxSpec(pod.uid, "default", "web"))
    assert again.id != pod.sandbox.id
    assert [s.state for s in await runtime.sandboxes()] == [State.RUNNING]


async def test_a_new_agent_finds_everything(cluster: str, runtime: DockerRuntime, tmp_path: Path) -> None:
    pod = await Pod.make(runtime)
    container = await pod.sh(FOREVER)
    async with docker_runtime(cluster, tmp_path) as second:
        assert [(s.id, s.pod_uid) for s in await second.sandboxes()] == [(pod.sandbox.id, pod.uid)]
        assert await second.containers() == await runtime.containers()
        await second.stop_container(container, grace_seconds=5)
        await second.remove_container(container)
    assert list((tmp_path / "entry").iterdir()) == []


async def test_a_container_whose_agent_died_before_it_ran_ends(runtime: DockerRuntime) -> None:
    pod = await Pod.make(runtime)
    container = await runtime.create_container(pod.spec("sh", "-c", FOREVER))
    with sdk() as client:
        client.containers.get(container).start()
    assert (await ended(runtime, container)).exit_code == 128


async def test_a_daemon_that_is_not_there(tmp_path: Path) -> None:
    runtime = DockerRuntime(DockerSettings("c", "n", tmp_path, socket=f"unix://{tmp_path}/docker.sock"))
    with pytest.raises(RuntimeAway, match="Is it running"):
        await runtime.info()
    with pytest.raises(RuntimeAway):
        await anext(runtime.events())
    await runtime.close()
