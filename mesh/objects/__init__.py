"""The object model: Kubernetes objects as plain JSON-shaped dicts, and pure functions over them.

Nothing here does I/O, reads a clock or draws a random number. Objects that come from a cache are read-only:
copy what you change (`mesh.objects.meta.thaw`).
"""
