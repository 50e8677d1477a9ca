"""The controllers, one file each, and every one pure: no I/O, clock or randomness may enter (`.importlinter`).

`table.py` lists them. What runs them is in `controlplane.manager` and `mesh.client.runtime`.
"""
