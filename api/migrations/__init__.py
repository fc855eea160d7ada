"""How the schema came to be, a step a file in `versions`; `api.database.upgrade` applies what a database lacks."""
