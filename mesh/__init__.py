"""What every process of Covey shares: objects, store, bus, plans, client. Imports nothing else of ours."""
