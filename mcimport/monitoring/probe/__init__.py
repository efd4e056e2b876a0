"""Finds out which of the assumptions about the two services hold on the operator's own account."""
