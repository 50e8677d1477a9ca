"""The bus: NATS connections, identities and subjects, request/reply, byte streams, the API over NATS."""
