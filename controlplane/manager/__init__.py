"""The controller manager: where the pure controllers meet the runtime, the bus, the clock and the leader election.

No decision about objects is taken here; those are in `controlplane.controllers`.
"""
