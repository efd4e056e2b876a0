"""The values that all other folders share."""
