"""Tests of agents/network: pure tables."""
