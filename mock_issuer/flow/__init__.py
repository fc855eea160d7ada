"""What an issuer is and remembers: device requests, decisions, keys, events, clock. No endpoint is here."""
