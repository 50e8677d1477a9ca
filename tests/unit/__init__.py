"""Pure, fast tests."""
