"""Survival: parts of a real cluster are killed and cut off; what runs goes on, and nothing acknowledged is lost."""
