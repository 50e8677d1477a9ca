"""The nftables back end: one table of our own, in which a Service is a few elements of maps and never a rule."""
