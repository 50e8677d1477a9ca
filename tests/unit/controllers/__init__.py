"""Planner tables, crash-after-every-prefix convergence and random walks of the controllers."""
