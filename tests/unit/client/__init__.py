"""Unit tests of mesh/client: no broker, no server."""
