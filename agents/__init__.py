"""What runs on a node beside the proxy: pods, pod network, DNS. Imports mesh only."""
