"""Mailchimp: its client, its answers, and how a list is read in windows of time."""
