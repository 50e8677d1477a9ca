"""The covey command: the typer admin CLI, and the entry points of all processes."""
