"""The device flow, the issuer's endpoints, and the stored login kept fresh. No terminal in here."""
