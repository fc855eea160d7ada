"""The endpoints that OAuth clients talk to: device code, token, revocation, metadata, userinfo. No HTML is here."""
