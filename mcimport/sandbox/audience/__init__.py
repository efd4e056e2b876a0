"""The members of an invented audience, and how Mailchimp shows them."""
