"""What `covey` says when something is not as it should be: one sentence, a status, never a traceback."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from cli.cluster import Cluster, processes, save_cluster
from cli.layout import Layout
from cli.supervisor import read_processes
from mesh.bus.identities import ensure_seed
from mesh.errors import Terminal

ROOT = Path(__file__).resolve().parents[3]
CLUSTER = Cluster(
    name="c", host_address="10.0.0.1", node_cidr="10.0.0.0/24", pod_cidr="10.1.0.0/16", service_cidr="10.96.0.0/16",
    nodes=[],
)  # fmt: skip


def covey(home: Path, *arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
    """Run it to its end."""
    return subprocess.run(
        [sys.executable, "-m", "cli.main", *arguments], env={**os.environ, "COVEY_HOME": str(home), **more}, cwd=ROOT,
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("verb", "file", "content", "words"),
    [
        ("get pods", "context.json", None, "does not exist. Start one: covey up"),
        ("get pods", "context.json", "{", "context.json is damaged ("),
        ("get pods", "context.json", "{}", "context.json is damaged (Object missing required field `cluster`). Write"),
        ("get pods", "context.json", '{"cluster":"c","servers":[],"seed_file":"/none"}', "cannot read the NKEY seed"),
        ("down", "cluster.json", "", "cluster.json is damaged: "),
        ("down", "cluster.json", "{}", "cluster.json is damaged: Object missing required field `name`"),
        ("agent --runtime fake", "cluster.json", "]", "cluster.json is damaged: "),
        ("kubeconfig", "kubeconfig", None, "does not exist. Start one: covey up"),
    ],
)
def test_files_that_are_missing_or_damaged(
    tmp_path: Path, verb: str, file: str, content: str | None, words: str
) -> None:
    if content is not None:
        (tmp_path / file).write_text(content)
    done = covey(tmp_path, *verb.split())
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("covey: ")
    assert words in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("arguments", [["get", "pods"], ["down"], ["kubeconfig"]])
def test_a_home_that_is_a_file(tmp_path: Path, arguments: list[str]) -> None:
    home = tmp_path / "home"
    home.write_text("")
    done = covey(home, *arguments)
    assert "Traceback" not in done.stderr
    assert (done.returncode, len(done.stderr.splitlines() + done.stdout.splitlines())) in {(1, 1), (0, 1)}


def test_a_broker_that_nobody_runs(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    layout = Layout(tmp_path)
    layout.context_file.write_text(
        f'{{"cluster":"mine","servers":["nats://127.0.0.1:{port}"],"seed_file":"{seed(tmp_path)}"}}'
    )
    done = covey(tmp_path, "get", "pods")
    assert done.returncode == 1
    assert done.stderr.startswith("covey: cluster mine is not in reach (")
    assert done.stderr.endswith("Is it up? covey up\n")
    assert len(done.stderr.splitlines()) == 1


def seed(home: Path) -> Path:
    """A fresh identity's file."""
    ensure_seed(home / "admin.nk")
    return home / "admin.nk"


def test_ctrl_c_is_status_130_and_says_nothing(tmp_path: Path) -> None:
    """Against a broker that takes the connection and is silent."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        (tmp_path / "context.json").write_text(
            f'{{"cluster":"mine","servers":["nats://127.0.0.1:{port}"],"seed_file":"{seed(tmp_path)}"}}'
        )
        with subprocess.Popen(
            [sys.executable, "-m", "cli.main", "get", "pods", "-w"], env={**os.environ, "COVEY_HOME": str(tmp_path)},
            cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        ) as process:  # fmt: skip
            connection, _ = silent.accept()
            with connection:
                process.send_signal(signal.SIGINT)
                told = process.communicate(timeout=60)
    assert (process.returncode, told) == (130, ("", ""))


@pytest.mark.parametrize(
    ("raised", "told"),
    [
        ("OSError(113, 'No route to host')", "covey: No route to host\n"),
        ("OSError(13, 'Permission denied', '/some/file')", "covey: /some/file: Permission denied\n"),
        ("OSError('cannot say')", "covey: cannot say\n"),
        ("None", "covey: standard output: No space left on device\n"),
    ],
)
def test_what_went_wrong_and_where(raised: str, told: str) -> None:
    """Standard output is blamed for its own failures alone."""
    code = "import cli.app, cli.main\ndef command():\n    print('x')\n    error = %s\n    if error: raise error\n"
    code += "cli.app.app, cli.app.register_verbs = command, int\ncli.main.main()"
    with Path("/dev/full" if raised == "None" else os.devnull).open("w") as output:
        done = subprocess.run(
            [sys.executable, "-c", code % raised], cwd=ROOT, stdout=output, stderr=subprocess.PIPE, text=True,
            check=False, timeout=60, env={**os.environ, "PYTHONUNBUFFERED": ""},
        )  # fmt: skip
    assert (done.returncode, done.stderr) == (1, told)


def test_ctrl_c_while_the_command_is_being_loaded(tmp_path: Path) -> None:
    code = "import signal, sys\nclass Interrupts:\n    def find_spec(self, name, path=None, target=None):\n"
    code += "        if name == 'cli.verbs':\n            signal.raise_signal(signal.SIGINT)\n"
    code += "sys.meta_path.insert(0, Interrupts())\nfrom cli.main import main\nmain()"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False, timeout=60
    )
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "")


def test_of_two_who_change_a_cluster_one_is_told_to_wait(tmp_path: Path) -> None:
    save_cluster(Layout(tmp_path), CLUSTER)
    with Layout(tmp_path).locked():
        with pytest.raises(Terminal, match="another covey up or down is at work on the cluster in "), \
             Layout(tmp_path).locked():  # fmt: skip
            raise AssertionError("both hold it")
        with Layout(tmp_path / "other").locked():
            pass
    with Layout(tmp_path).locked():
        pass


def test_another_configuration_makes_another_process(tmp_path: Path) -> None:
    """That is how the supervisor knows, whatever happened between writing the one and starting the other."""
    layout = Layout(tmp_path)
    specs = {spec.name: spec for spec in processes(CLUSTER, layout, Path("/nats"))}
    again = {spec.name: spec for spec in processes(CLUSTER, layout, Path("/nats"))}
    moved = msgspec.structs.replace(CLUSTER, api_port=7443)
    changed = {spec.name: spec for spec in processes(moved, layout, Path("/nats"))}
    assert specs == again
    assert specs["server"].command == changed["server"].command
    assert specs["server"] != changed["server"]
    assert specs["nats"] == changed["nats"]


def test_a_damaged_list_of_processes_is_told(tmp_path: Path) -> None:
    (tmp_path / "processes.json").write_text("[")
    with pytest.raises(Terminal, match=r"processes\.json is damaged \(.*\)\. Remove it: covey up writes it anew"):
        read_processes(tmp_path)
