"""How each kind is defaulted, validated and what a write may touch: one declaration per kind, in Kubernetes' wording.

`strategy.py` is the interface, `registry.py` the table. Pure and synchronous: no clock, no randomness, no I/O; what is
allocated or looked up elsewhere (cluster IPs, node ports, uids, times) is the pipeline's business.
"""
