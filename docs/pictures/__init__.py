"""The pictures of README.md, and the program that makes them: `make pictures`."""
