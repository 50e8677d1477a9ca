"""The API server over real HTTPS: a plain client, and the unmodified kubectl."""
