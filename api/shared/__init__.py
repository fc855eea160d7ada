"""What processes share through Redis: rate limits and revocations. The database is not here, but in `database`."""
