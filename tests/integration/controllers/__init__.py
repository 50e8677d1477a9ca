"""Controllers on the real API pipeline: whole behaviours, without a broker or containers."""
