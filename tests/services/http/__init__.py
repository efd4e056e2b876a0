"""One request, its retries and its limits."""
