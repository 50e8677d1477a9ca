"""What the tests of clients share: a namespace of their own in the session's cluster, and long-running commands."""

from __future__ import annotations

import queue
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from mesh.objects.types import Json, Object
from tests.support.cluster import PATIENCE, RealCluster, await_

KUBECTL = [str(Path(sys.executable).with_name("kubectl"))]
COVEY = [sys.executable, "-m", "cli.main"]


class Running:
    """A command that goes on until it is stopped; its lines as they come, standard error among them."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self.seen: list[str] = []
        self._lines: queue.Queue[str] = queue.Queue()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self._lines.put(line.rstrip("\n"))

    def line(self, wanted: Callable[[str], bool], within: float = PATIENCE) -> str:
        """The next line that is wanted."""
        while True:
            try:
                found = self._lines.get(timeout=within)
            except queue.Empty:
                raise AssertionError(f"waited in vain; it said: {self.seen}") from None
            self.seen.append(found)
            if wanted(found):
                return found

    def type(self, text: str) -> None:
        """Write to its standard input."""
        assert self.process.stdin is not None
        self.process.stdin.write(text)
        self.process.stdin.flush()

    def stop(self) -> None:
        """End it, and wait for that."""
        self.process.terminate()
        self.process.wait(timeout=PATIENCE)
        self._reader.join(timeout=PATIENCE)
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe is not None:
                pipe.close()


@dataclass(frozen=True)
class Space:
    """A namespace of the cluster, and both commands inside it."""

    cluster: RealCluster
    name: str

    def kubectl(self, *arguments: str, within: float = PATIENCE, text: str | None = None) -> str:
        """`kubectl -n <name> ...`: its standard output."""
        return self.cluster.kubectl("-n", self.name, *arguments, within=within, text=text)

    def covey(self, *arguments: str, within: float = PATIENCE, text: str | None = None) -> str:
        """`covey ... -n <name> ...` likewise."""
        return self.cluster.covey(*self._placed(arguments), within=within, text=text)

    def refused(self, command: str, *arguments: str, text: str | None = None) -> str:
        """A command that must fail; what it said on standard error."""
        placed = ["-n", self.name, *arguments] if command == "kubectl" else self._placed(arguments)
        return self.cluster.refused(command, *placed, text=text)

    def get(self, *arguments: str) -> Json:
        """`kubectl get ... -o json`, decoded."""
        return self.cluster.get("-n", self.name, *arguments)

    def apply(self, manifest: str) -> str:
        """`kubectl apply` of a manifest given as text."""
        return self.kubectl("apply", "-f", "-", text=manifest)

    def running(self, pod: str) -> Object:
        """The pod, once all its containers are ready."""
        self.kubectl("wait", "--for=condition=Ready", f"pod/{pod}", "--timeout=60s", within=90)
        found: Object = self.get("pod", pod)
        return found

    def events(self, pod: str) -> list[tuple[str, str]]:
        """Reason and message of the events about a pod."""
        found = self.get("events", "--field-selector", f"involvedObject.name={pod}")["items"]
        return [(event["reason"], event["message"]) for event in found]

    def waiting(self, pod: str, reason: str) -> Object:
        """The state of the pod's first container once it waits, or has ended, for this reason."""

        def found() -> Object | None:
            for status in self.get("pod", pod)["status"].get("containerStatuses") or ():
                for state in status["state"].values():
                    if state.get("reason") == reason:
                        result: Object = state
                        return result
            return None

        return await_(found, what=f"{reason} of pod {pod}")

    @contextmanager
    def start(self, command: str, *arguments: str) -> Iterator[Running]:
        """A command that goes on, stopped in the end."""
        line = [*KUBECTL, "-n", self.name, *arguments] if command == "kubectl" else [*COVEY, *self._placed(arguments)]
        pipe = subprocess.PIPE
        environment = {**self.cluster.environment, "PYTHONUNBUFFERED": "1"}
        process = subprocess.Popen(
            line, env=environment, stdin=pipe, stdout=pipe, stderr=subprocess.STDOUT, text=True, bufsize=1
        )
        running = Running(process)
        try:
            yield running
        finally:
            running.stop()

    def _placed(self, arguments: tuple[str, ...]) -> list[str]:
        verb = 2 if arguments[0] == "rollout" else 1
        return [*arguments[:verb], "-n", self.name, *arguments[verb:]]


def pod(name: str, script: str, *, spec: str = "", container: str = "") -> str:
    """A manifest of a pod that runs a shell script; `spec` and `container` are more fields, as flow YAML."""
    command = f'command: ["sh", "-c", {_quoted(script)}]'
    fields = ", ".join(part for part in (f"name: main, image: covey/busybox:1, {command}", container) if part)
    extra = f", {spec}" if spec else ""
    return (
        f"{{apiVersion: v1, kind: Pod, metadata: {{name: {name}, labels: {{app: {name}}}}}, "
        f"spec: {{terminationGracePeriodSeconds: 1, containers: [{{{fields}}}]{extra}}}}}\n"
    )


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n") + '"'
