"""Tests: unit (pure), simulation (virtual time), integration (real NATS, Docker, kernel), clients, vm."""
