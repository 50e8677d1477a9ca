"""The API of a real cluster as a test uses it from threads: over HTTPS, as kubectl does, and over NATS, as agents do.

Both doors have the same three calls. A refusal is an `ApiError` whose outcome is known; `Unavailable` means that the
request may have been carried out or not.
"""

from __future__ import annotations

import asyncio
import base64
import http.client
import json
import ssl
import tempfile
import threading
from collections.abc import Coroutine
from pathlib import Path
from typing import Protocol, TypeVar

import yaml

from cli.layout import Layout
from cli.session import Context
from mesh.bus.api_client import BusTransport
from mesh.bus.identities import load_signer
from mesh.bus.nats import NatsBus
from mesh.client.client import Client
from mesh.errors import ApiError, Unavailable, from_status
from mesh.objects.kinds import Resource
from mesh.objects.types import Json, Object

T = TypeVar("T")
PATIENCE = 15.0
"""Seconds after which an answer counts as lost."""


class Door(Protocol):
    """One way to the API."""

    def create(self, resource: Resource, obj: Object) -> Object:
        """The object as stored."""

    def update(self, resource: Resource, obj: Object) -> Object:
        """The object as stored; with a resourceVersion in it, only if it is still that version."""

    def get(self, resource: Resource, namespace: str, name: str) -> Object:
        """One object."""

    def close(self) -> None:
        """Let go of the connection."""


class HttpsDoor:
    """HTTPS with the certificate of a kubeconfig; one connection, made again after each failure."""

    def __init__(self, kubeconfig: Path) -> None:
        config = yaml.safe_load(kubeconfig.read_text())
        cluster, user = config["clusters"][0]["cluster"], config["users"][0]["user"]
        self._host, self._port = cluster["server"].removeprefix("https://").split(":")
        ca = base64.b64decode(cluster["certificate-authority-data"]).decode()
        self._tls = ssl.create_default_context(cadata=ca)
        with tempfile.NamedTemporaryFile() as both:
            both.write(base64.b64decode(user["client-certificate-data"]))
            both.write(base64.b64decode(user["client-key-data"]))
            both.flush()
            self._tls.load_cert_chain(both.name)
        self._connection: http.client.HTTPSConnection | None = None

    def request(self, method: str, path: str, body: Json = None, *, kind: str = "application/json") -> Object:
        """Any request; what it answers."""
        if self._connection is None:
            self._connection = http.client.HTTPSConnection(
                self._host, int(self._port), context=self._tls, timeout=PATIENCE
            )
        try:
            data = None if body is None else json.dumps(body).encode()
            self._connection.request(method, path, data, {"Content-Type": kind})
            response = self._connection.getresponse()
            answer: Object = json.loads(response.read())
        except (OSError, http.client.HTTPException, ValueError) as error:
            self.close()
            raise Unavailable(f"{method} {path}: {error!r}") from error
        if response.status >= 400:
            raise from_status(answer)
        return answer

    def create(self, resource: Resource, obj: Object) -> Object:
        """See `Door.create`."""
        return self.request("POST", resource.path(obj["metadata"].get("namespace", "")), obj)

    def update(self, resource: Resource, obj: Object) -> Object:
        """See `Door.update`."""
        meta = obj["metadata"]
        return self.request("PUT", resource.path(meta.get("namespace", ""), meta["name"]), obj)

    def get(self, resource: Resource, namespace: str, name: str) -> Object:
        """See `Door.get`."""
        return self.request("GET", resource.path(namespace, name))

    def list(self, resource: Resource, namespace: str = "") -> list[Object]:
        """All objects of a namespace, or of all."""
        items: list[Object] = self.request("GET", resource.path(namespace))["items"]
        return items

    def merge(self, resource: Resource, namespace: str, name: str, patch: Object) -> Object:
        """A merge patch."""
        return self.request("PATCH", resource.path(namespace, name), patch, kind="application/merge-patch+json")

    def delete(self, resource: Resource, namespace: str, name: str) -> Object:
        """Delete with the kind's defaults."""
        return self.request("DELETE", resource.path(namespace, name))

    def close(self) -> None:
        """See `Door.close`."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None


class NatsDoor:
    """NATS with the administrator's identity; a loop of its own in a thread of its own."""

    def __init__(self, layout: Layout, context: Context) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="nats door", daemon=True)
        self._thread.start()
        self._bus = NatsBus(context.servers, load_signer(Path(context.seed_file)), name="ledger")
        self._client = Client(BusTransport(self._bus), user_agent="ledger")
        self._call(self._bus.start(wait=PATIENCE))

    def _call(self, work: Coroutine[None, None, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(4 * PATIENCE)

    def create(self, resource: Resource, obj: Object) -> Object:
        """See `Door.create`."""
        return self._call(self._client.create(resource, obj))

    def update(self, resource: Resource, obj: Object) -> Object:
        """See `Door.update`."""
        return self._call(self._client.update(resource, obj))

    def get(self, resource: Resource, namespace: str, name: str) -> Object:
        """See `Door.get`."""
        return self._call(self._client.get(resource, name, namespace))

    def close(self) -> None:
        """See `Door.close`."""
        self._call(self._bus.close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(PATIENCE)
        self._loop.close()


def outcome_unknown(error: ApiError) -> bool:
    """Whether the request may have been carried out all the same."""
    return error.code in {408, 429, 500, 503, 504}
