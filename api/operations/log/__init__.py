"""The log: events and library messages become lines of JSON, which a thread writes. Start with `writer`.

Nothing here raises into a request or lets it wait. What is logged, and when, is decided by those who log.
"""
