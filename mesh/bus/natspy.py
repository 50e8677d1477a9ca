"""The one place that imports nats-py: without aiohttp, which it wants for a WebSocket transport that we never use.

Importing aiohttp takes as long as the rest of what a proxy or `covey` imports, and 10 MB. Python's documented
way to say that a module cannot be imported is None under its name in `sys.modules`; nats-py is prepared for that.
https://docs.python.org/3.11/reference/import.html#the-module-cache
"""

from __future__ import annotations

import sys

_hidden = "aiohttp" not in sys.modules
if _hidden:
    sys.modules["aiohttp"] = None  # type: ignore[assignment]
try:
    from nats import errors
    from nats.aio.client import Client
    from nats.aio.msg import Msg
    from nats.aio.subscription import Subscription
    from nats.aio.transport import Transport
finally:
    if _hidden:
        del sys.modules["aiohttp"]

__all__ = ["Client", "Msg", "Subscription", "Transport", "errors"]
