"""The database: connections, transactions, and the schema's migrations. The queries are in `devices/storage`."""
