"""Hostile requests for testing an API, and the command that sends them; the device flow needs nothing from here."""
