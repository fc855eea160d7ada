"""Health, metrics, logs, and gunicorn's worker class: the interface to the platform. Start with `request_record`."""
