"""Checks everything that a sync needs: settings, state file, keys, services, lists.

Checks change nothing, and each finding says what was seen and what fixes it.
"""
