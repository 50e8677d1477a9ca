"""Runs and configures the ingress controller."""
