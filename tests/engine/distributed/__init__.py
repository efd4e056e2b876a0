"""The engine of many machines, as far as it needs no broker."""
