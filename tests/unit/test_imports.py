"""What small processes do not import, and that whoever wants it still can. Each in an interpreter of its own."""

import subprocess
import sys

import pytest


def _python(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.mark.parametrize(
    ("module", "unwanted"),
    [
        ("netproxy.main, netproxy.nftables.netlink", ["aiohttp", "pyroute2.ndb", "docker", "typer", "numpy"]),
        ("agents.main", ["pyroute2.ndb", "docker", "h2", "typer", "numpy", "kubernetes_validate"]),
        ("controlplane.main", ["numpy", "docker", "pyroute2", "typer"]),
        ("cli.session, mesh.bus.nats", ["aiohttp", "docker", "numpy", "pyroute2"]),
    ],
)
def test_processes_start_without(module: str, unwanted: list[str]) -> None:
    loaded = _python(f"import sys, {module}; print(' '.join(name for name in {unwanted} if name in sys.modules))")
    assert loaded == ""


def test_aiohttp_is_there_for_others_after_the_broker_client() -> None:
    assert _python("import mesh.bus.natspy, aiohttp; print(aiohttp.ClientSession.__name__)") == "ClientSession"


def test_a_deferred_package_gives_its_own_names_when_asked() -> None:
    before = "import agents.network.netlink, sys; before = 'pyroute2.ndb' in sys.modules"
    code = f"{before}; from pyroute2 import IPRoute, IPVS; print(before, IPRoute.__name__, IPVS.__name__)"
    assert _python(code) == "False IPRoute IPVS"


def test_deferring_an_imported_package_changes_nothing() -> None:
    code = "import json.decoder; from mesh.deferred import defer; defer('json'); import json; print(json.loads('1'))"
    assert _python(code) == "1"


def test_a_deferred_package_lacks_what_it_lacks() -> None:
    code = "from mesh.deferred import defer; defer('email'); import email"
    code += "; print(hasattr(email, 'nothing'), email.__all__[0])"
    assert _python(code) == "False base64mime"
