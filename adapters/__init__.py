"""Files to copy next to `api/auth/`, for services that protect their routes with another library."""
