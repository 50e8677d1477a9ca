"""The bus on a real nats-server."""
