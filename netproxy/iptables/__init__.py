"""The iptables back end: chains as kube-proxy makes them, written by `iptables-restore --noflush`."""
