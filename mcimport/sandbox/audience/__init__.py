"""Invents the members of a list, changes them, and shows them as Mailchimp does."""
