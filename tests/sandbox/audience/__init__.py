"""The invented audience."""
