"""The scheduler: tables of filters, scores, placements and the queue."""
