"""Reading from Mailchimp."""
