"""The controls for tests, in Python and over HTTP: tokens, keys, faults, clock, decisions; the flow is in `flow`."""
