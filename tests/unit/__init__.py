"""Pure and fast: no network, no Docker, no kernel."""
