"""Tests against real NATS, real Docker, the real kernel."""
