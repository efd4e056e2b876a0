"""Trials of the engine of many machines, on a real broker; `make test-engine` runs them."""
