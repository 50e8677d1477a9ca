"""The pod network: address management, veth, routes, VXLAN."""
