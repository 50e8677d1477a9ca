"""Pure tests: no broker, no Docker, no kernel."""
