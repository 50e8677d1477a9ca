"""Streams, calls and the API over the in-memory bus."""

from __future__ import annotations

import pytest

from mesh.bus.memory import MemoryBroker
from mesh.bus.port import Bus
from tests.support.bus_traffic import Traffic


class TestMemoryTraffic(Traffic):
    @pytest.fixture
    def broker(self) -> MemoryBroker:
        return MemoryBroker()

    @pytest.fixture
    async def a(self, broker: MemoryBroker) -> Bus:
        return broker.connect("UA")

    @pytest.fixture
    async def b(self, broker: MemoryBroker) -> Bus:
        return broker.connect("UB")

    @pytest.fixture
    async def server(self, broker: MemoryBroker) -> Bus:
        return broker.connect("US", server=True)
