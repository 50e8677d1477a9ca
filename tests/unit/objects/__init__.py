"""Unit tests of objects: tables that read like a specification."""
