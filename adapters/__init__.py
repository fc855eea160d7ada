"""Files to copy next to `api/auth/`, for services that use another framework than Flask, or another library."""
