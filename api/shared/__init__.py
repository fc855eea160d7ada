"""State that processes share through Redis: rate limits and revocations. The database is in `database`."""
