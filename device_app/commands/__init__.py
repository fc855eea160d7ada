"""The commands: their options, what they print, and their calls of the API. The device flow itself is in `login/`."""
