"""Talking to Mailchimp and Ometria."""
