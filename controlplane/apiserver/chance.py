"""Randomness of the pipeline: names and UIDs, drawn from a generator that is handed in, so that a seed replays them."""

from __future__ import annotations

import random
import uuid

from mesh.objects import names


def suffix(rng: random.Random) -> str:
    """Five random characters, as generated names end with."""
    return "".join(rng.choices(names.SUFFIX_ALPHABET, k=5))


def uid(rng: random.Random) -> str:
    """A random UUID (version 4)."""
    return str(uuid.UUID(int=rng.getrandbits(128), version=4))
