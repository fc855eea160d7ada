"""Files to copy beside `api/auth/`, for services that have a framework of their own for protecting routes."""
