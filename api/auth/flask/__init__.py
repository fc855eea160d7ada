"""The part for Flask: `Auth` on the application, decorators on its views. What a token is worth: ../verifier.py."""

from .declarations import Access, access_of, requirements_of
from .decorator import open_to_all, require_auth
from .extension import Auth, current_token

__all__ = ["Access", "Auth", "access_of", "current_token", "open_to_all", "require_auth", "requirements_of"]
