"""Tests of the node agent: planning tables, and workers on virtual time."""
