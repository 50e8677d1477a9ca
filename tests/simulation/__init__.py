"""The whole cluster in one process, on virtual time, with faults from a seed (house.md, point 7).

`world.py` puts the real control plane and the real node agents together over the stores and the bus in memory.
`users.py` uses the cluster and keeps a ledger of what it was promised; `storm.py` breaks things; `invariants*.py` say in
prose what must never happen, and look; `settled.py` says what must be true once all faults are over. `run.py` plays
one seed, and `python -m tests.simulation 1-100` many. Same seed, same run, to the last event.
"""
