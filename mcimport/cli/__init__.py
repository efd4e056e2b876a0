"""The commands, one file a group: build the settings, call one function, print, exit."""
