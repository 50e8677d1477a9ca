"""Tests of agents/dns: on the real kernel."""
