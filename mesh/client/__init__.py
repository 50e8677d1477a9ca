"""Client, informers, work queue, the runtime that runs controllers, leader election, events."""
