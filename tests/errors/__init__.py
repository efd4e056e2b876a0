"""What is done with errors of the machine, and where it gives no more threads."""
