"""Where tokens are kept between commands: a file, or the system's keyring."""
