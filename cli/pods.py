"""Which pod and container a user means, and the channels of byte streams to them."""

from __future__ import annotations

from typing import Annotated

import orjson
import typer

from cli import completion
from cli.arguments import one_target
from cli.printing import warn
from cli.session import Session
from mesh.errors import Terminal, Unavailable
from mesh.objects.kinds import PODS, SERVICES
from mesh.objects.labels import equal_to, from_object
from mesh.objects.meta import annotations_of
from mesh.objects.types import Object

STDIN, STDOUT, STDERR, ERROR, RESIZE, CLOSE = 0, 1, 2, 3, 4, 255
"""Channels of a stream, as in `mesh.api.port.Stream`."""
CHUNK = 32 * 1024
"""Bytes read from a terminal or a socket at a time."""

Pod = Annotated[str, typer.Argument(metavar="POD | TYPE/NAME", autocompletion=completion.pods)]
Container = Annotated[
    str,
    typer.Option(
        "--container", "-c", help="Container of the pod; the first by default.", autocompletion=completion.containers
    ),
]


async def find_pod(session: Session, word: str) -> Object:
    """The pod that `web-1`, `pod/web-1`, `deploy/web` or `svc/web` means: of several the first running one."""
    return (await pods_of(session, word))[0]


async def pods_of(session: Session, word: str) -> list[Object]:
    """The pod itself, or those of what has pods: at least one, the running ones first."""
    target = one_target([word], default="pods")
    obj = await session.client.get(target.resource, target.name, session.namespace)
    if target.resource == PODS:
        return [obj]
    selector = (obj.get("spec") or {}).get("selector") or {}
    text = str(equal_to(selector) if target.resource == SERVICES else from_object(selector))
    if not text:
        raise Terminal(f"{target} selects no pods")
    pods = (await session.client.list(PODS, session.namespace, label_selector=text)).items
    pods.sort(key=lambda p: ((p.get("status") or {}).get("phase") != "Running", p["metadata"]["name"]))
    if not pods:
        raise Terminal(f"{target} has no pods")
    return pods


def containers_of(pod: Object) -> list[str]:
    """Names of all its containers, in the order in which they start."""
    return [c["name"] for field in ("initContainers", "containers") for c in pod["spec"].get(field) or ()]


def choose_container(pod: Object, wanted: str = "") -> str:
    """The container meant: the one named, else as kubectl chooses, by annotation or the first."""
    if wanted:
        return wanted
    names = [c["name"] for c in pod["spec"]["containers"]]
    chosen = annotations_of(pod).get("kubectl.kubernetes.io/default-container")
    if chosen in names:
        return str(chosen)
    if len(names) > 1:
        warn(f'Defaulted container "{names[0]}" out of: {", ".join(names)}')
    return str(names[0])


def raise_failure(channel: int, data: bytes) -> None:
    """Raise what the error channel says, a Status or plain text; other channels pass."""
    if channel != ERROR or not data:
        return
    try:
        message = str(orjson.loads(data)["message"])
    except (orjson.JSONDecodeError, KeyError, TypeError):
        message = data.decode(errors="replace")
    raise Unavailable(message)
