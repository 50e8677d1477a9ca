from __future__ import annotations

from datetime import UTC, datetime

import pytest

from agents.node.ports import ContainerSpec, Mount, Resources, SandboxSpec, Security, State
from agents.node.runtimes import translate
from agents.node.runtimes.labels import Owner
from agents.node.runtimes.translate import Host, ImageConfig
from mesh.objects.types import Json

OWNER = Owner("c", "n")
HOST = Host("covey/pause:2", "", -1000)
IMAGE = ImageConfig("sha256:1", ("/entry",), ("serve",), ("PATH=/bin", "LANG=C"))


def spec(**more: object) -> ContainerSpec:
    return ContainerSpec("box", "uid", "main", 0, "sha256:1", "web-0", **more)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("command", "args", "expected"),
    [
        (None, None, ("/entry", "serve")),
        (None, ("other",), ("/entry", "other")),
        (None, (), ("/entry",)),
        (("sh",), None, ("sh",)),
        (("sh",), ("-c", "x"), ("sh", "-c", "x")),
    ],
)
def test_command_and_args(
    command: tuple[str, ...] | None, args: tuple[str, ...] | None, expected: tuple[str, ...]
) -> None:
    assert translate.command_line(spec(command=command, args=args), IMAGE) == expected


@pytest.mark.parametrize(
    ("command", "environment", "expected"),
    [
        ("/bin/sh", ["PATH=/x"], ("/bin/sh",)),
        ("./run", ["PATH=/x"], ("./run",)),
        ("sh", ["PATH=/a:/b"], ("/a/sh", "/b/sh")),
        ("sh", ["PATH=/a", "PATH=/b"], ("/b/sh",)),
        ("sh", ["PATH=/a::/b"], ("/a/sh", "./sh", "/b/sh")),
        ("sh", [], tuple(f"{d}/sh" for d in translate.DEFAULT_PATH.split(":"))),
    ],
)
def test_where_a_command_is_looked_for(command: str, environment: list[str], expected: tuple[str, ...]) -> None:
    assert translate.candidates(command, environment) == expected


@pytest.mark.parametrize(
    ("more", "key", "expected"),
    [
        ({}, "NetworkMode", "container:box"),
        ({}, "IpcMode", "container:box"),
        ({"host_ipc": True}, "IpcMode", "host"),
        ({}, "PidMode", ""),
        ({"host_pid": True}, "PidMode", "host"),
        ({"share_pid_with": "box"}, "PidMode", "container:box"),
        ({"cgroup_parent": "/pods/x"}, "CgroupParent", "/pods/x"),
        ({"security": Security(no_new_privileges=True)}, "SecurityOpt", ["no-new-privileges"]),
        ({"security": Security(seccomp_unconfined=True)}, "SecurityOpt", ["seccomp=unconfined"]),
        ({"security": Security(drop_capabilities=("ALL",))}, "CapDrop", ["ALL"]),
        ({"resources": Resources(cpu_quota_us=150_000)}, "CpuQuota", 150_000),
        ({"resources": Resources(oom_score_adj=-997)}, "OomScoreAdj", -997),
        (
            {"devices": ("/dev/fuse:/dev/x:r",)},
            "Devices",
            [{"PathOnHost": "/dev/fuse", "PathInContainer": "/dev/x", "CgroupPermissions": "r"}],
        ),
    ],
)
def test_host_config(more: dict[str, object], key: str, expected: Json) -> None:
    assert translate.container_body(OWNER, spec(**more), IMAGE, "/entry", HOST)["HostConfig"][key] == expected


def test_unlimited_is_not_said() -> None:
    host = translate.container_body(OWNER, spec(), IMAGE, "/entry", HOST)["HostConfig"]
    assert not {"Memory", "MemorySwap", "CpuQuota", "CpuShares", "PidsLimit"} & host.keys()


def test_a_weak_machine_raises_negative_oom_scores() -> None:
    weak = Host("covey/pause:2", "", 0)
    body = translate.container_body(OWNER, spec(resources=Resources(oom_score_adj=-997)), IMAGE, "/entry", weak)
    assert body["HostConfig"]["OomScoreAdj"] == 0


def test_the_users_own_hostname_file_and_variable_win() -> None:
    body = translate.container_body(
        OWNER,
        spec(mounts=(Mount("/mine", "/etc/hostname"),), environment=(("HOSTNAME", "mine"),)),
        IMAGE,
        "/entry",
        HOST,
    )
    assert [m["Source"] for m in body["HostConfig"]["Mounts"]] == ["/mine", "/entry"]
    assert body["Env"] == ["HOSTNAME=mine"]


@pytest.mark.parametrize(
    ("holder", "more", "network", "command"),
    [
        ("", {}, "host", ["isolate"]),
        ("", {"host_network": True}, "host", []),
        ("h1", {"host_network": True}, "container:h1", []),
        ("h1", {}, "host", ["isolate"]),
    ],
)
def test_sandboxes(holder: str, more: dict[str, bool], network: str, command: list[str]) -> None:
    """Only what makes itself a namespace of its own begins with the capability to do so."""
    sandbox = SandboxSpec("uid", "default", "web", **more)  # type: ignore[arg-type]
    body = translate.sandbox_body(OWNER, sandbox, Host("covey/pause:2", holder, -1000))
    assert (body["HostConfig"]["NetworkMode"], body["Cmd"]) == (network, command)
    assert (body["HostConfig"]["CapDrop"], body["HostConfig"]["CapAdd"]) == (["ALL"], ["SYS_ADMIN"] * len(command))


def test_the_network_sets_its_own_sysctls() -> None:
    """Docker refuses them for a container in the machine's network namespace, as a sandbox is at first."""
    asked = {"net.core.somaxconn": "100", "kernel.shm_rmid_forced": "1"}
    body = translate.sandbox_body(OWNER, SandboxSpec("uid", "default", "web", asked), HOST)
    assert body["HostConfig"]["Sysctls"] == {"kernel.shm_rmid_forced": "1"}


def test_a_warm_sandbox_names_no_pod() -> None:
    labels = translate.sandbox_body(OWNER, None, HOST)["Labels"]
    assert labels == {"dev.covey.cluster": "c", "dev.covey.node": "n", "dev.covey.kind": "sandbox"}


def inspected(**state: object) -> Json:
    labels = OWNER.container_labels(spec())
    times = {"StartedAt": "2026-01-02T03:04:05.123456789Z", "FinishedAt": "2026-01-02T03:04:06Z"}
    return {
        "Id": "id",
        "Image": "sha256:1",
        "Created": "2026-01-02T03:04:04.5Z",
        "Config": {"Image": "sha256:1", "Labels": labels},
        "State": {"Pid": 0, "ExitCode": 0, "Error": "", "OOMKilled": False, **times, **state},
    }


@pytest.mark.parametrize(
    ("state", "error", "expected"),
    [
        ({"Status": "created"}, "", (State.CREATED, 0, 0, "")),
        ({"Status": "running", "Pid": 7}, "", (State.RUNNING, 0, 0, "")),
        ({"Status": "paused", "Pid": 7}, "", (State.RUNNING, 0, 0, "")),
        ({"Status": "exited", "ExitCode": 3}, "", (State.EXITED, 3, 0, "")),
        ({"Status": "exited", "ExitCode": 137}, "", (State.EXITED, 137, 9, "")),
        ({"Status": "exited", "ExitCode": 255}, "", (State.EXITED, 255, 0, "")),
        ({"Status": "dead", "ExitCode": 1}, "", (State.EXITED, 1, 0, "")),
        ({"Status": "created", "Error": "bad mount", "ExitCode": 127}, "", (State.EXITED, 128, 0, "bad mount")),
        ({"Status": "exited", "ExitCode": 128}, "no such file", (State.EXITED, 128, 0, "no such file")),
    ],
)
def test_states(state: dict[str, object], error: str, expected: tuple[object, ...]) -> None:
    status = translate.container_status(inspected(**state), error)
    assert (status.state, status.exit_code, status.signal, status.message) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-01-02T03:04:05.123456789Z", datetime(2026, 1, 2, 3, 4, 5, 123456, tzinfo=UTC)),
        ("2026-01-02T03:04:05Z", datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)),
        ("2026-01-02T05:04:05.5+02:00", datetime(2026, 1, 2, 3, 4, 5, 500000, tzinfo=UTC)),
        ("0001-01-01T00:00:00Z", None),
        ("", None),
    ],
)
def test_moments(text: str, expected: datetime | None) -> None:
    assert translate.moment(text) == expected
