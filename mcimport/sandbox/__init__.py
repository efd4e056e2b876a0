"""Fakes Mailchimp and Ometria on loopback, with an invented audience: for the demo, the tests and the benchmarks."""
