"""The comparison of both sides of a list, and the update of what differs."""
