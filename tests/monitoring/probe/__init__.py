"""What the probe finds out about both services."""
