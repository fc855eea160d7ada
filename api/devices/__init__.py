"""The sample resource: devices and their readings, from the routes to the database."""
