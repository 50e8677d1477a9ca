"""What this machine lets its root do: some runs of Covey are in a container or sandboxed VM with fewer capabilities."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

_CAP_SYS_RESOURCE: Final = 24
_ANY: Final = -1000


def lowest_oom_score_adj(proc: Path = Path("/proc")) -> int:
    """The lowest oom_score_adj that can be given to a process: our own, where root lacks CAP_SYS_RESOURCE.

    Asked for less there, runc fails without a word of why ("can't get final child's PID from pipe"). containerd has the
    same restriction as a setting, `restrict_oom_score_adj`. The daemon's capabilities are taken to be ours.
    """
    effective = re.search(r"^CapEff:\s*([0-9a-f]+)", (proc / "self/status").read_text(), re.MULTILINE)
    if effective is not None and int(effective[1], 16) >> _CAP_SYS_RESOURCE & 1:
        return _ANY
    return int((proc / "self/oom_score_adj").read_text())
