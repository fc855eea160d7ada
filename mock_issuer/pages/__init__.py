"""The HTML pages that people see: activation, log-in, consent, account, logs. The OAuth endpoints are in `oauth`."""
