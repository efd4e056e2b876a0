"""How an operator knows that all is well: checks, notifications, metrics, and the state file in a browser."""
