"""The REST request as a value: one shape whether it came over HTTPS, over NATS or as a direct call."""
