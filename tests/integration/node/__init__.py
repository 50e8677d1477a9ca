"""Tests of the node agent with real Docker and a real file system."""
