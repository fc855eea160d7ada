"""The OpenAPI document and the page to try it: /openapi.yaml, /openapi.json and /docs."""
