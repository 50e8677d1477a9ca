"""The nftables back end: one table of our own, in which a Service is a few elements of maps and never a rule."""

from mesh.deferred import defer

defer("pyroute2")  # before netlink.py imports the part of it that speaks nf_tables
