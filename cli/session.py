"""One command's conversation with a cluster: who we are, where the broker is, and errors in kubectl's words."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import msgspec

from mesh.client.client import Client
from mesh.config import home
from mesh.errors import ApiError, Terminal, Unavailable

T = TypeVar("T")


class Context(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """How to reach one cluster: the file `context.json` in its home."""

    cluster: str
    servers: list[str]
    seed_file: str
    namespace: str = "default"


@dataclass(frozen=True, slots=True)
class Session:
    """A connected command."""

    client: Client
    namespace: str
    """The namespace to use when the command names none."""
    told_to_wait: asyncio.Event = field(default_factory=asyncio.Event)
    """Set once the user knows that no server answers; however many wait, he is told once."""


def read_context() -> Context:
    """The context of `$COVEY_HOME`; `Terminal` when there is no cluster."""
    path = Path(os.environ.get("COVEY_CONTEXT", home() / "context.json"))
    try:
        return msgspec.json.decode(path.read_bytes(), type=Context)
    except FileNotFoundError as error:
        raise Terminal(f"no cluster is known: {path} does not exist. Start one: covey up") from error
    except PermissionError as error:
        raise Terminal(f"{path} belongs to another user; set COVEY_HOME, or use sudo") from error
    except msgspec.DecodeError as error:
        raise Terminal(f"{path} is damaged ({error}). Write it anew: covey up") from error


@asynccontextmanager
async def connect(namespace: str = "") -> AsyncIterator[Session]:
    """Connect as the context's identity; `Terminal` when the broker is out of reach."""
    from mesh.bus.api_client import BusTransport
    from mesh.bus.identities import load_signer
    from mesh.bus.nats import NatsBus

    context = read_context()
    bus = NatsBus(context.servers, load_signer(Path(context.seed_file)), name="covey")
    try:
        await bus.start(wait=5.0)
    except Unavailable as error:
        await bus.close()
        raise Terminal(f"cluster {context.cluster} is not in reach ({error}). Is it up? covey up") from error
    try:
        yield Session(Client(BusTransport(bus), user_agent="covey-cli"), namespace or context.namespace)
    finally:
        await bus.close()


def sentence(error: ApiError) -> str:
    """What a user is told about a refusal, in kubectl's words."""
    return f"Error from server ({error.reason}): {error.message}" if error.code != 422 else error.message


def run(command: Callable[[Session], Awaitable[T]], namespace: str = "") -> T:
    """Run one command to its end; Ctrl-C ends it quietly."""

    async def connected() -> T:
        async with connect(namespace) as session:
            return await command(session)

    try:
        return asyncio.run(connected())
    except KeyboardInterrupt:
        raise SystemExit(130) from None
