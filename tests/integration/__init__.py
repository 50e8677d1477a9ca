"""Tests against the real things: NATS, Docker, the kernel."""
