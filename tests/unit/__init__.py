"""Pure, fast tests: no network, no kernel, no daemon."""
