"""Stories that run the whole command line, and are about no single module."""
