"""How the schema came to be, a step a file in `versions`; `schema.upgrade` applies what a database lacks."""
