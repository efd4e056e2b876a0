"""Comparing both sides, and updating what differs."""
