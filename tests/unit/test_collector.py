"""A process that caches very many objects is not held up again and again by Python's collector. In an interpreter of its
own, since the steps are the process's."""

import subprocess
import sys

from mesh.collector import STEPS

OBJECTS = 500_000
FILL = f"""
import gc
from mesh.collector import take_small_steps
looks = []
gc.callbacks.append(lambda phase, info: looks.append(info["generation"]) if phase == "stop" else None)
take_small_steps()
cached = [[] for _ in range({OBJECTS})]
print(len(looks), max(looks))
"""


def test_what_is_cached_is_looked_at_twice_at_most() -> None:
    done = subprocess.run([sys.executable, "-c", FILL], capture_output=True, text=True, timeout=60, check=True)
    looks, oldest = map(int, done.stdout.split())
    assert 1 < looks <= OBJECTS // STEPS[0] + 1
    assert oldest == 1
