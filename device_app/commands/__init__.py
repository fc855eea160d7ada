"""What is typed: the commands with their options, and what they print. How a login works is in `login`."""
