"""The OAuth endpoints: device authorization, token, revocation, introspection, metadata, UserInfo. The HTML pages are in `pages`."""
