"""From a member to a contact."""
