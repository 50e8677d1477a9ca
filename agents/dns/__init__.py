"""Cluster DNS: Services by name, everything else forwarded.

Every node's agent answers on the cluster's DNS address, which lies on the node's own lo: a pod's question never leaves
its node, needs no proxy rule, and is answered even when no other node is in reach. (The Service object `kube-dns` shows
the address to whoever looks for it; its label `service.kubernetes.io/service-proxy-name` keeps proxies from it.)

`records.py` says what a Service is called; `table.py` holds all of them; `answers.py` answers a question from the table;
these are pure. `packets.py` reads and writes the wire format; `forwarder.py` asks others; `server.py` holds the sockets.
Specification: https://github.com/kubernetes/dns/blob/master/docs/specification.md (schema version 1.1.0).
"""
