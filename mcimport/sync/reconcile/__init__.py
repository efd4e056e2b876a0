"""Both sides of a list are compared, and what differs is updated."""
