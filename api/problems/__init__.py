"""Error responses: `Problem`, the catalogue of error codes, and the conversion of exceptions to responses."""
