"""Persistence of devices and readings: tables, queries, and the store that runs them. HTTP is not here."""
