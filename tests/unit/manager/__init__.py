"""The shells around the controllers: heartbeats."""
