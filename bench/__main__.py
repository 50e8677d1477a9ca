"""`python -m bench [PART...]`: measure, print a table, write JSON into bench/results/. Needs root and Docker.

Every figure is a median with its spread, of this machine at this hour; what it is held against was measured in the same
run where that is possible. Nothing here is a test: nothing fails because it is slow.
"""

from __future__ import annotations

import argparse
import importlib
import json
import logging
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from bench import machine
from bench.figures import Figure

PLAIN_WIDTH = 130
"""Columns of the table in a file or a pipe."""
RESULTS = Path(__file__).parent / "results"
PARTS = {
    "pods": ("bench.pods:measure", "a pod's start, warm and cold, and fifty at once, against docker run"),
    "scheduling": ("bench.scheduling:measure", "decisions by the plan, and pods bound end to end"),
    "api": ("bench.api:measure", "requests on the durable store, a list of 10,000 pods, a change to 1,000 watchers"),
    "changes": ("bench.proxies:measure_changes", "endpoints of a Service change: until the rule is in the kernel"),
    "traffic": ("bench.proxies:measure_traffic", "ClusterIP and NodePort against the pod's own address"),
    "memory": ("bench.memory:measure", "memory and processor time, at rest and with 10,000 pods"),
    "starting": ("bench.starting:measure", "covey up to three Ready nodes"),
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run the parts asked for, all without any, in order; 1 when one of them could not be measured."""
    lines = "\n".join(f"  {name:10} {about}" for name, (_, about) in PARTS.items())
    parser = argparse.ArgumentParser(
        prog="python -m bench",
        description=f"{__doc__}\nParts:\n{lines}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("parts", nargs="*", metavar="PART", choices=[[], *PARTS])
    parts = parser.parse_args(argv).parts or list(PARTS)
    # Development machines forbid compiled files; an installed Covey has them, and starts two to three times as fast.
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    logging.getLogger().addHandler(logging.NullHandler())  # clients that are closed warn of their lost connection
    console = Console() if sys.stdout.isatty() else Console(width=PLAIN_WIDTH)
    measured_on = machine.describe()
    for key, value in measured_on.items():
        console.print(f"{key:12} {value}", highlight=False)
    measured: dict[str, list[Figure]] = {}
    failed: dict[str, str] = {}
    for part in parts:
        try:
            measured[part] = _run(part, console)
        except (
            RuntimeError,
            subprocess.SubprocessError,
            ExceptionGroup,
        ) as error:  # what the others measured is still worth having
            failed[part] = str(error)
            console.print_exception()
    figures = {part: [figure.as_json() for figure in figures] for part, figures in measured.items()}
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / time.strftime("%Y%m%dT%H%M%S.json", time.gmtime())
    path.write_text(json.dumps({"machine": measured_on, "parts": figures, "failed": failed}, indent=2) + "\n")
    console.print(f"written to {path}", highlight=False)
    return 1 if failed else 0


def _run(part: str, console: Console) -> list[Figure]:
    """One part, printed as soon as it is done."""
    where, about = PARTS[part]
    module, _, function = where.partition(":")
    began = time.perf_counter()
    figures: list[Figure] = list(getattr(importlib.import_module(module), function)())
    table = Table(title=f"{part}: {about} ({time.perf_counter() - began:.0f} s)", title_justify="left")
    for heading in ("figure", "unit"):
        table.add_column(heading, no_wrap=True)
    for heading in ("median", "min", "p99", "max", "n", "aim", ""):
        table.add_column(heading, justify="right", no_wrap=True)
    for figure in figures:
        spread = [_number(value) for value in (figure.median, figure.least, figure.p99, figure.most)]
        table.add_row(figure.name, figure.unit, *spread, str(figure.count), str(figure.aim or ""), figure.verdict)
    console.print(table)
    return figures


def _number(value: float) -> str:
    """Three significant digits; whole numbers in full."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


if __name__ == "__main__":
    sys.exit(main())
