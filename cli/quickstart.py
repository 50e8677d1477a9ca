"""`make quickstart`: a cluster, a Deployment and a NodePort Service, and the proof that they serve; then what to try.

Everything shown is fetched for real: from this machine through each node's address and NodePort, and from inside a pod
through the Service's ClusterIP.
"""

from __future__ import annotations

import asyncio
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path

from rich.console import Console
from rich.table import Table

from cli.arguments import Target
from cli.cluster import Cluster
from cli.layout import Layout
from cli.manifests import read_manifests
from cli.pods import STDOUT
from cli.session import Session, connect
from cli.streams import relay
from cli.up import up
from cli.verbs.apply import apply_one
from cli.verbs.rollout import sentences
from cli.wanted import Wanted
from mesh.api.port import Stream
from mesh.errors import Terminal
from mesh.objects.kinds import DEPLOYMENTS, PODS, SERVICES
from mesh.objects.types import Object

EXAMPLE = Path(__file__).resolve().parent.parent / "examples" / "hello.yaml"
NAME = "hello"
ROLLOUT_SECONDS = 120.0
FETCH_SECONDS = 15.0
_DIRECTLY = urllib.request.build_opener(urllib.request.ProxyHandler({}))
"""A node's address is on this machine: no proxy of the environment's leads to it."""


def quickstart(layout: Layout, wanted: Wanted) -> None:
    """Run it; `Terminal` says what went wrong."""
    console = Console(highlight=False)
    console.width = max(console.width, 110)  # names and addresses whole, also where nobody looks at a terminal
    began = time.monotonic()
    with console.status("starting the cluster") as status:
        cluster = up(layout, wanted, lambda text: status.update(f"starting the cluster: {text}"))
    console.print(f"[green]✓[/] cluster [b]{cluster.name}[/]: {len(cluster.nodes)} nodes Ready "
                  f"({time.monotonic() - began:.1f} s)")  # fmt: skip
    asyncio.run(_serve(console, cluster))
    _what_next(console, layout, cluster)


async def _serve(console: Console, cluster: Cluster) -> None:
    """Apply the example, follow its rollout, fetch its page in every way."""
    async with connect() as session:
        began = time.monotonic()
        for manifest in read_manifests([str(EXAMPLE)]):
            _, done = await apply_one(session, manifest)
            console.print(f"[green]✓[/] {manifest.resource.singular}/{manifest.name} {done}")
        with console.status("rolling out") as status:
            await _rolled_out(session, status.update)
        console.print(f"[green]✓[/] rollout finished ({time.monotonic() - began:.1f} s)")
        service = await session.client.get(SERVICES, NAME, session.namespace)
        rows = [(f"from here, {n.name}", f"http://{n.address}:{_node_port(service)}/") for n in cluster.nodes]
        table = Table(box=None, header_style="bold", pad_edge=False)
        for column in ("FETCHED", "ADDRESS", "ANSWER"):
            table.add_column(column, no_wrap=True)
        for label, url in rows:
            table.add_row(label, url, await asyncio.to_thread(_fetch, url))
        inside = f"http://{service['spec']['clusterIP']}:{service['spec']['ports'][0]['port']}/"
        pod, answer = await _fetch_inside(session, inside)
        table.add_row(f"from inside {pod}", inside, answer)
        console.print()
        console.print(table)


async def _rolled_out(session: Session, say: Callable[[str], None]) -> None:
    try:
        async with asyncio.timeout(ROLLOUT_SECONDS):
            async for sentence in sentences(session, Target(DEPLOYMENTS, NAME)):
                say(sentence)
    except TimeoutError:
        raise Terminal(
            f"the rollout did not finish in {ROLLOUT_SECONDS:.0f} s: covey describe deployment {NAME}"
        ) from None


def _node_port(service: Object) -> int:
    return int(service["spec"]["ports"][0]["nodePort"])


def _fetch(url: str) -> str:
    """The page's first line; waits while the nodes' rules follow the endpoints. `Terminal` when nothing answers."""
    deadline = time.monotonic() + FETCH_SECONDS
    while True:
        try:
            with _DIRECTLY.open(url, timeout=2) as answer:
                text: str = answer.read(200).decode(errors="replace")
                return text.splitlines()[0] if text else ""
        except (urllib.error.URLError, OSError) as error:
            if time.monotonic() > deadline:
                raise Terminal(f"{url} does not answer: {error}") from error
            time.sleep(0.1)


async def _fetch_inside(session: Session, url: str) -> tuple[str, str]:
    """Fetch from inside one of the pods; returns the pod's name and the page's first line."""
    pods = (await session.client.list(PODS, session.namespace, label_selector=f"app={NAME}")).items
    running = [p for p in pods if (p.get("status") or {}).get("phase") == "Running"]
    name = (running or pods)[0]["metadata"]["name"]
    words = ("timeout", "5", "wget", "-q", "-O", "-", url)
    query = (*(("command", word) for word in words), ("container", NAME), ("stdout", "true"), ("stderr", "true"))
    deadline = asyncio.get_running_loop().time() + FETCH_SECONDS
    while True:
        stream = await session.client.connect(PODS, name, session.namespace, "exec", query)
        out = await _answer(stream)
        if out:
            return name, out.decode(errors="replace").splitlines()[0]
        if asyncio.get_running_loop().time() > deadline:
            raise Terminal(f"{url} does not answer inside pod {name}")
        await asyncio.sleep(0.1)


async def _answer(stream: Stream) -> bytes:
    """What the command writes on its standard output."""
    out = bytearray()

    def take(channel: int, data: bytes) -> None:
        if channel == STDOUT:
            out.extend(data)

    try:
        await relay(stream, take)
    finally:
        await stream.close()
    return bytes(out)


def _what_next(console: Console, layout: Layout, cluster: Cluster) -> None:
    console.print()
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True)
    covey = ".venv/bin/covey"
    for command, meaning in (
        (f"{covey} get all -o wide", "what runs, and where"),
        (f"{covey} scale deploy/hello --replicas 10", "more of it"),
        (f"{covey} rollout restart deploy/hello", "replaced one by one, without a failed request"),
        (f"export KUBECONFIG={layout.kubeconfig}", "then kubectl, Helm and client libraries work as usual"),
        (f"curl http://{cluster.nodes[0].address}:30080/", "the page again"),
        ("make down", "remove everything again"),
    ):
        table.add_row(f"[b]{command}[/]", meaning)
    console.print(table)
