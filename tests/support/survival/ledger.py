"""Writers that keep a ledger of every acknowledged write, to be compared with what the cluster holds at the end.

Each writer owns its ConfigMaps: it makes them and counts each up, always naming the resourceVersion it expects. Nobody
else writes them, so whatever an acknowledgement said must be there unchanged: the number and the resourceVersion. When
the outcome of a write is unknown the writer reads the object back; it may find the write done or not done, and
anything else is a fault.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass, field

from mesh.errors import ApiError, NotFound
from mesh.objects.kinds import CONFIGMAPS
from mesh.objects.types import Object
from tests.support.survival.doors import Door, outcome_unknown

PACE_SECONDS = 0.02
SETTLE_SECONDS = 60.0
WRITES_EACH = 8
"""A ConfigMap is counted up to this; then the next one is made."""


@dataclass(slots=True)
class Ledger:
    """What one writer was told. `known` is each object as it last was acknowledged or read."""

    acknowledged: int = 0
    unknown: int = 0
    known: dict[str, Object] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)

    def compare(self, stored: list[Object]) -> list[str]:
        """What differs between this ledger and what the cluster holds; nothing, if nothing was lost."""
        found = {obj["metadata"]["name"]: obj for obj in stored}
        wrong = list(self.faults)
        for name, expected in self.known.items():
            if name not in found:
                wrong.append(f"{name} is missing; {_state(expected)} was acknowledged")
            elif _state(found[name]) != _state(expected):
                wrong.append(f"{name} is {_state(found[name])}; {_state(expected)} was acknowledged")
        return wrong


def _state(obj: Object) -> tuple[str, str]:
    return obj["data"]["number"], obj["metadata"]["resourceVersion"]


class Writer(threading.Thread):
    """Writes through one door until it is stopped. Names of its objects begin with `prefix`."""

    def __init__(self, door: Door, prefix: str, namespace: str = "default") -> None:
        super().__init__(name=f"writer {prefix}")
        self.ledger = Ledger()
        self._door = door
        self._prefix = prefix
        self._namespace = namespace
        self._stopping = threading.Event()

    def stop(self) -> Ledger:
        """End it; its ledger."""
        self._stopping.set()
        self.join(2 * SETTLE_SECONDS)
        assert not self.is_alive(), f"{self.name} does not end"
        return self.ledger

    def run(self) -> None:
        """Make one object after the other, and count each up."""
        try:
            serial = 0
            while not self._stopping.is_set():
                serial += 1
                for number in range(WRITES_EACH):
                    if not self._write(f"{self._prefix}-{serial}", number) or self._stopping.wait(PACE_SECONDS):
                        break
        except Exception as error:
            self.ledger.faults.append(f"{self.name} failed: {error!r}")
            raise
        finally:
            self._door.close()

    def _write(self, name: str, number: int) -> bool:
        """One write, and if need be finding out what became of it; whether the object is at `number` now."""
        before = self.ledger.known.get(name)
        meta = {"name": name, "namespace": self._namespace}
        if before is not None:
            meta["resourceVersion"] = before["metadata"]["resourceVersion"]
        wanted: Object = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta, "data": {"number": str(number)}}
        try:
            write = self._door.create if before is None else self._door.update
            self.ledger.known[name] = write(CONFIGMAPS, wanted)
        except ApiError as error:
            if not outcome_unknown(error) or error.code == 500:
                self.ledger.faults.append(f"{name}, write {number}: {error!r}")
                return False
            self.ledger.unknown += 1
            return self._settle(name, number)
        self.ledger.acknowledged += 1
        return True

    def _settle(self, name: str, number: int) -> bool:
        """Read back what a lost answer may have meant."""
        before = self.ledger.known.get(name)
        for _ in range(int(SETTLE_SECONDS / 0.1)):
            try:
                found = self._door.get(CONFIGMAPS, self._namespace, name)
            except NotFound:
                if before is not None:
                    self.ledger.faults.append(f"{name} is missing after write {number}")
                return False
            except ApiError:
                if self._stopping.wait(0.1):
                    self.ledger.known.pop(name, None)
                    return False
                continue
            if found["data"]["number"] == str(number):
                self.ledger.known[name] = found
                return True
            if before is None or _state(found) != _state(before):
                was = "nothing" if before is None else _state(before)
                self.ledger.faults.append(f"{name} is {_state(found)} after write {number}; before it was {was}")
            return False
        self.ledger.faults.append(f"{name}: nobody answers for {SETTLE_SECONDS:.0f} s")
        return False
