"""The commands `init` and `check`."""
