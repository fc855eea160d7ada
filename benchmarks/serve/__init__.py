"""The server's CPU time per request, side by side with peers: `python -m benchmarks.serve`."""
