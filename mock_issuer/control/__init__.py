"""The controls for tests, in Python and over HTTP: tokens, keys, faults, clock, decisions. The flow is in `flow`."""
