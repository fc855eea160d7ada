"""Parsing of queries, bodies and conditional headers, cache headers and CORS. No route and no resource is here."""
