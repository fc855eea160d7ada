"""Alembic's entry point: run the migrations on the connection of `schema.upgrade`, in its transaction."""

from alembic import context

context.configure(connection=context.config.attributes["connection"])
context.run_migrations()
