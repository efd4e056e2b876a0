"""Syncs, replays and spot checks."""
