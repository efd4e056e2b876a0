"""Pushing to Ometria, and reading back."""
