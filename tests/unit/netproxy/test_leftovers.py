"""What proxies of other modes have left is removed, each kind by itself."""

from __future__ import annotations

import asyncio

import pytest

from netproxy import main
from netproxy.backend import KernelRefused
from netproxy.cluster import Cluster
from netproxy.main import retire_others


class Leftover:
    """What one kind of proxy has left; the kernel refuses to remove it as long as `stuck`."""

    def __init__(self, *, stuck: bool) -> None:
        self.stuck = stuck
        self.gone = False
        self.closed = False

    async def cleanup(self) -> None:
        if self.stuck:
            raise KernelRefused("Resource temporarily unavailable")
        self.gone = True

    def close(self) -> None:
        self.closed = True


@pytest.mark.looptime
async def test_what_stays_does_not_keep_the_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    first, second, synced = Leftover(stuck=True), Leftover(stuck=False), asyncio.Event()
    monkeypatch.setattr(main, "leftovers", lambda _mode, _cluster: iter([first, second]))
    retiring = asyncio.create_task(retire_others("nftables", Cluster((), (), ""), synced))
    await asyncio.sleep(60)
    assert not second.gone, "our own rules are not in place yet"
    synced.set()
    await asyncio.sleep(60)
    assert (first.gone, second.gone, second.closed) == (False, True, True)
    first.stuck = False
    await retiring
    assert (first.gone, first.closed) == (True, True)
