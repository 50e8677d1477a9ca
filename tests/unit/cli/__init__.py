"""The command: arguments, manifests, merges, printing."""
