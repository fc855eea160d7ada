"""The device flow, the discovery of the issuer's endpoints, refresh and revocation. No terminal input or output."""
