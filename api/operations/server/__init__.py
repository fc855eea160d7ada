"""How gunicorn and granian serve the API: the worker class, the log, a stop that loses no request."""
