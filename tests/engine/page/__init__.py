"""One page of a window: fetched, converted, pushed."""
