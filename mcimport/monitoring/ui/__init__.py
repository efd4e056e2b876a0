"""The state file in the browser: prepared pages over what is recorded, read-only, on loopback, through Datasette."""
