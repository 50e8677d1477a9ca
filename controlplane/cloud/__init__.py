"""The cloud-controller manager: nodes' addresses and lifetime, load balancers; providers plug in."""
