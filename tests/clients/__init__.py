"""Unmodified clients against a real cluster: kubectl, client libraries, and `covey` beside them."""
