"""The sample device application: a command-line program that gets a token by the device flow and calls the API."""

__version__ = "0.2.0.dev0"
