"""The commands, one file for each: it loads the settings, calls one function, prints the result, returns the code."""
