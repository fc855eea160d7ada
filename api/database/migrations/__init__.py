"""The Alembic migrations; `schema.upgrade` applies those that a database lacks."""
