"""What decides: API server, scheduler, controllers, cloud controllers. Imports mesh only."""
