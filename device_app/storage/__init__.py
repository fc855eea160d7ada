"""Where the tokens are stored between commands: a file, or the system's keyring."""
