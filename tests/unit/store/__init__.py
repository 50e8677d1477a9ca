"""The cluster store, in memory and its keys."""
