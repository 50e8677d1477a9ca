"""Integration tests of the proxy on the real kernel, in network namespaces of their own."""
