"""The contract and the page to try it: /openapi.yaml, /openapi.json, /docs. The routes themselves are elsewhere."""
