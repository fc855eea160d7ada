"""The keys of an issuer: fetched, read and kept. Imports no web framework. How a token uses them: ../verifier.py."""
