"""Alembic's entry point: run the steps on the connection that `schema.upgrade` hands over, in its transaction."""

from alembic import context

context.configure(connection=context.config.attributes["connection"])
context.run_migrations()
