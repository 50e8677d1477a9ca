"""The bus in memory: permissions, streams, calls, the API."""
