"""Carries every contact of a Mailchimp audience into Ometria, and loses nobody."""

__version__ = "0.1.0"
