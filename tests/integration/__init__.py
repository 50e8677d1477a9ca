"""Against the real thing: NATS, Docker, the kernel."""
