"""HTTP and NATS front ends over one pipeline: authenticate, authorize, admit, validate, store, watch."""
