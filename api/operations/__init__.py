"""What operators see: health, metrics, logs, and gunicorn's worker. No data of callers passes through here."""
