"""How an operator knows that all is well."""
