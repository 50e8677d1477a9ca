"""Tests of agents/network: on the real kernel."""
