"""HTTP sessions with fixed TLS, time and size limits, and the response headers that the program acts on."""
