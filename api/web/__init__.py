"""Requests in, answers out: queries, bodies, conditional headers and CORS. What a route means is not decided here."""
