"""Container runtimes behind `agents.node.ports.Runtime`: Docker's API (Podman speaks it too), and a fake."""
