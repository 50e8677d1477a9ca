"""The client's side of the API: Client, informers, work queue, events, leader election, the runtime of controllers.

Nothing here knows what any controller does, nor how bytes reach the API server.
"""
