"""The issuer's state and rules: device requests, decisions, keys, events, clock. The endpoints are in `oauth`."""
