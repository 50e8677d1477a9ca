"""The cluster store on a real nats-server."""
