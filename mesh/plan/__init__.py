"""Plans as values: all that a pure planning module imports besides `mesh.objects`."""
