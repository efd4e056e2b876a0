"""The pages of `mcimport ui`."""
