"""OAuth endpoints: device authorization, token, revocation, introspection, metadata, UserInfo. HTML is in `pages`."""
