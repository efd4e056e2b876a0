"""What a call prints and logs."""
