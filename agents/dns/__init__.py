"""Cluster DNS: Services by name, everything else forwarded."""
