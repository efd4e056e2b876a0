"""Talks to Mailchimp and Ometria: requests, their limits, and what the answers say."""
