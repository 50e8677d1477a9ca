"""Unit tests of strategies: tables that read like a specification."""
