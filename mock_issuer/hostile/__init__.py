"""Hostile requests for testing an API, with the answers that the RFCs require, and the command that sends them.

The API's own tests are not here, nor is anything that the device flow needs.
"""
