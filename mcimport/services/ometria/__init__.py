"""Ometria: pushing contacts, and reading them."""
