"""The pod network: address management, veth, routes, VXLAN; and the topology of a machine that holds several nodes.

Everything here has one shape. What should exist in a network namespace is a list of *items* (`items.py`: links,
addresses, routes, neighbours, sysctls) made by pure functions (`pods.py`, `peers.py`, `topology.py`); what does exist
is read from the kernel as the same items; `difference` says what to ensure and what to remove; `netlink.py` does it.
"""

from mesh.deferred import defer

defer("pyroute2")  # before any module here imports a part of it
