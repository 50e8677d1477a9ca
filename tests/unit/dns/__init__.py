"""Tests of agents/dns: pure tables."""
