"""The database engine, write transactions, and migrations. The queries are in `devices/storage`."""
