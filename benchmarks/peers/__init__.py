"""Sends the mock issuer's hostile requests to other libraries' quickstart services, and writes docs/peers.md."""
