"""A package whose `__init__` waits until somebody wants something of it that no submodule is.

pyroute2 imports every protocol it knows when one of them is asked for (a fifth of a second, 10 MB, in each agent and
proxy); we need the message classes of two. `defer` puts the package in place without running its `__init__`, so that
its submodules can be imported by themselves; whoever asks the package itself for a name gets it, and pays then.
"""

from __future__ import annotations

import importlib.util
import sys


def defer(package: str) -> None:
    """Make the package importable as described. Nothing happens when it is imported already, or not installed."""
    spec = None if package in sys.modules else importlib.util.find_spec(package)
    if spec is None or spec.loader is None:
        return
    loader, module = spec.loader, importlib.util.module_from_spec(spec)

    def missing(name: str) -> object:
        """What Python calls for a name that the module does not have (PEP 562)."""
        if importlib.util.find_spec(f"{package}.{name}") is not None:
            return importlib.import_module(f"{package}.{name}")
        del module.__dict__["__getattr__"]
        loader.exec_module(module)
        return getattr(module, name)

    module.__dict__["__getattr__"] = missing
    sys.modules[package] = module
