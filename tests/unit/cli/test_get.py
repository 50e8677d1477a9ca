"""`covey get` against an API server in memory: what it prints, and that it ends when it should."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from cli.app import app, register_verbs
from cli.session import Session
from cli.verbs import get
from mesh.client.client import Client
from mesh.errors import NotFound, Terminal
from tests.support.apiserver import Cluster, running

MAPS = "/api/v1/namespaces/default/configmaps"
Command = Callable[[Session], Awaitable[None]]

register_verbs()


def config_map(name: str, **labels: str) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "labels": labels}}


def command(monkeypatch: pytest.MonkeyPatch, *words: str) -> Command:
    """What `covey get` with these words would do once connected; the error that it ends with instead is raised."""
    made: list[Command] = []
    monkeypatch.setattr(get, "run", lambda one, _: made.append(one))
    result = CliRunner().invoke(app, ["get", *words])
    if result.exception is not None:
        raise result.exception
    return made[0]


def session(api: Cluster) -> Session:
    return Session(Client(api.transport, user_agent="test"), "default")


@pytest.mark.parametrize("output", [[], ["-o", "name"]])
async def test_what_is_not_there_is_not_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, output: list[str]
) -> None:
    asked = command(monkeypatch, "configmap", "nosuch", "-w", *output)
    async with running(tmp_path) as api, asyncio.timeout(20):
        with pytest.raises(NotFound, match='configmaps "nosuch" not found'):
            await asked(session(api))


@pytest.mark.parametrize(("option", "listed"), [("-w", {"old", "new"}), ("--watch-only", {"new"})])
@pytest.mark.parametrize("output", [["--no-headers"], ["-o", "name"]])
async def test_watching_with_and_without_a_list(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], option: str,
    listed: set[str], output: list[str],
) -> None:  # fmt: skip
    asked = command(monkeypatch, "configmaps", option, *output)
    async with running(tmp_path) as api, asyncio.timeout(20):
        await api.ok("POST", MAPS, config_map("old"))
        watching = asyncio.ensure_future(asked(session(api)))
        printed, number = "", 0
        while "new" not in printed:  # one of them comes after the list
            await api.ok("POST", MAPS, config_map(f"new-{number}"))
            printed, number = printed + capsys.readouterr().out, number + 1
        watching.cancel()
        await asyncio.wait({watching})
    names = [line.split()[0].removeprefix("configmap/").partition("-")[0] for line in printed.splitlines()]
    assert set(names) == listed


async def test_columns_of_labels(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = command(monkeypatch, "configmaps", "-L", "app,example.com/tier", "-L", "track")
    async with running(tmp_path) as api:
        await api.ok("POST", MAPS, config_map("a", app="web", track="x"))
        await api.ok("POST", MAPS, config_map("b", **{"example.com/tier": "db"}))
        await asked(session(api))
    header, a, b = (line.split() for line in capsys.readouterr().out.splitlines())
    assert header == ["NAME", "DATA", "AGE", "APP", "TIER", "TRACK"]
    assert (a[3:], b[3:]) == (["web", "x"], ["db"])


async def test_manifests_of_several_namespaces(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "m.yaml"
    places = {"one": ", namespace: shop", "two": ", namespace: default", "three": ""}
    file.write_text("".join(
        f"---\napiVersion: v1\nkind: ConfigMap\nmetadata: {{name: {name}{where}}}\n" for name, where in places.items()
    ))  # fmt: skip
    asked = command(monkeypatch, "-f", str(file), "-o", "jsonpath={range .items[*]}{.metadata.namespace} {end}")
    async with running(tmp_path / "pki") as api:
        await api.ok("POST", "/api/v1/namespaces", {"metadata": {"name": "shop"}})
        await api.ok("POST", "/api/v1/namespaces/shop/configmaps", config_map("one"))
        for name in ("two", "three"):
            await api.ok("POST", MAPS, config_map(name))
        await asked(session(api))
    assert capsys.readouterr().out.split() == ["shop", "default", "default"]
    with pytest.raises(Terminal, match=r"You must pass '--namespace=shop' to perform this"):
        command(monkeypatch, "-f", str(file), "-n", "default")
