"""The authorization code flow in a browser (RFC 6749 §4.1); the exchange of its codes for tokens is in `oauth`."""
