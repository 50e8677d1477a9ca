"""Unit tests of the API server: requests and answers as tables, on the store in memory."""
