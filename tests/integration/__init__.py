"""Tests against real NATS, Docker and kernel."""
