"""Requests and what bounds them: retries, connections, pace, time."""
