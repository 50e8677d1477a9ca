"""Which node runs a pod: filters as masks, scores as vectors, a whole queue in one pass."""
