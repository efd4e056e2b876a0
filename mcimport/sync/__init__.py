"""What a command does for every client: sync, replay and reconcile, a list at a time."""
