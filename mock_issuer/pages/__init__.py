"""The HTML pages: activation, account, event log, front page; OAuth endpoints are in `oauth`, decisions in `flow`."""
