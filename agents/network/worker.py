"""One thread that lives in the node's network namespace and does all blocking work of the pod network, in order.

Entering a namespace changes the thread that does it, so the event loop's thread never does. One thread also means that
plans of different pods never interleave in the kernel.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import ParamSpec, TypeVar

from mesh import netns

P = ParamSpec("P")
T = TypeVar("T")


class Worker:
    """Runs functions one after the other in a thread inside namespace `path` ("" is the process's own)."""

    def __init__(self, path: str = "") -> None:
        enter = partial(netns.enter, path) if path else None
        self._threads = ThreadPoolExecutor(1, thread_name_prefix="network", initializer=enter)

    async def run(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """The function's result. It goes on to its end when the caller is cancelled."""
        return await asyncio.get_running_loop().run_in_executor(self._threads, partial(function, *args, **kwargs))

    def close(self) -> None:
        """End the thread once it has done what it was given."""
        self._threads.shutdown(wait=True)
