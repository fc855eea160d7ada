"""The OAuth endpoints: device authorization, token, revocation, metadata, UserInfo. The HTML pages are in `pages`."""
