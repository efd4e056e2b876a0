"""The fake Mailchimp and the fake Ometria."""
