"""`python -m tests.simulation 1-100 [--planted NAME] [--trace]`: one line for each seed; 1 when one of them failed."""

from __future__ import annotations

import argparse
import os
import sys
import time
from pathlib import Path

from tests.simulation.planted import PLANTED
from tests.simulation.run import Outcome, play

LAST = 60
"""Events that are shown of a run that failed."""


def main() -> int:
    """Play the seeds asked for."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("seeds", nargs="?", default="1-10", help="a number or a range: 7, 1-100")
    parser.add_argument("--planted", choices=sorted(PLANTED), help="with this fault in the product")
    parser.add_argument("--calm", action="store_true", help="without faults around it")
    parser.add_argument("--trace", action="store_true", help="print everything that happened")
    given = parser.parse_args()
    first, _, last = given.seeds.partition("-")
    failed = False
    for seed in range(int(first), int(last or first) + 1):
        began = time.process_time()
        plant = PLANTED[given.planted]() if given.planted else None
        outcome = play(seed, faults=not given.calm, plant=plant)
        _tell(outcome, time.process_time() - began, whole=given.trace)
        failed = failed or outcome.failure is not None
    return int(failed)


def _tell(outcome: Outcome, took: float, *, whole: bool) -> None:
    failure = outcome.failure
    if whole or failure is not None:
        print("\n".join(outcome.trace.lines if whole else outcome.trace.lines[-LAST:]))
    verdict = "holds" if failure is None else "FAILED"
    print(
        f"seed {outcome.seed} {verdict}: {outcome.seconds:.0f} s in {took:.1f} s of CPU, {outcome.writes} writes, "
        f"{len(outcome.trace.lines)} events, trace {outcome.trace.digest()}",
        flush=True,
    )
    if failure is not None:
        print(f"  at {failure.at:.3f} s: {failure.invariant}\n  {failure.details}", flush=True)


if __name__ == "__main__":
    if os.environ.get("PYTHONHASHSEED") != "0":
        # Sets of strings have another order in every process; the seed is to decide everything.
        arguments = [sys.executable, "-m", "tests.simulation", *sys.argv[1:]]
        os.chdir(Path(__file__).parents[2])
        os.execve(sys.executable, arguments, {**os.environ, "PYTHONHASHSEED": "0"})
    sys.exit(main())
