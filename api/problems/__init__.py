"""Error answers: `Problem`, the catalogue of its codes, and the one place where exceptions become responses."""
