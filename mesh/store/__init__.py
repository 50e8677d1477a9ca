"""The cluster store: keys, revisions, compare-and-set, follow. One stream, one revision counter."""
