"""Devices and readings in the database: tables, queries, and the store that runs them. Nothing here knows HTTP."""
