"""One page of a window: fetched, converted and pushed."""
