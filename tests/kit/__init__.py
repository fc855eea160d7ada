"""Shared by the tests: signing keys, databases, servers and processes. No tests are here."""
